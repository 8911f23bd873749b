import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import PSPNet
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 48}, {"psp_out_channels": 48}),
    "no norm": ({"norm": "none"}, {"decoder_use_norm": False}),
    "depth": ({"encoder_depth": 4}, {"encoder_depth": 4, "upsampling": 16}),
}


def _pair(encoder, ours, theirs):
    model = smp.PSPNet(encoder, encoder_weights=None, classes=3, psp_dropout=0.0, **theirs)
    return pair(model, "pspnet", encoder, dropout=0.0, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-regnety_002"])
def test_logits_equal_those_of_smp_on_other_encoders(encoder):
    assert_same_logits(*_pair(encoder, {}, {}))


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-resnet18", *OPTIONS[option]))


def test_the_encoder_has_depth_three_and_the_result_its_stride():
    model = create_model("pspnet", "resnet18")
    assert (model.encoder.strides, model.decoder.out_stride, model.decoder.out_channels) == ((1, 2, 4, 8), 8, 512)


def test_the_dropout_is_that_of_smp():
    assert (
        create_model("pspnet", "resnet18").decoder.dropout.p
        == smp.PSPNet("tu-resnet18", encoder_weights=None).decoder.dropout.p
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 13)])
def test_a_map_may_be_smaller_than_the_grid(size):
    decoder = PSPNet((3, 20), (1, 8), channels=4, pool_sizes=[1, 2, 3, 6, 11]).eval()
    with torch.no_grad():
        assert decoder([torch.empty(1, 3, 8, 8), torch.randn(1, 20, *size)]).shape == (1, 4, *size)


def test_each_part_of_the_result_of_pooling_is_an_average_of_its_cell():
    psp = PSPNet((3, 2), (1, 8), pool_sizes=[1], norm="none").psp
    torch.nn.init.eye_(psp.blocks[0].pool[1][0].weight.data[..., 0, 0])
    x = torch.rand(1, 2, 5, 7)
    with torch.no_grad():
        averages, itself = psp(x).split(2, dim=1)
    assert torch.equal(itself, x)
    torch.testing.assert_close(averages, x.mean((2, 3), keepdim=True).expand_as(x))


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "none"])
@pytest.mark.parametrize("pool_sizes", [[1], [1, 2, 3, 6, 8]])
def test_a_batch_of_one_trains_with_every_norm(norm, pool_sizes):
    model = create_model("pspnet", "resnet18", norm=norm, pool_sizes=pool_sizes).train()
    model(torch.randn(1, 3, 65, 97)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("pool_sizes", [[], [1] * 129])
def test_grids_without_channels_are_explained(pool_sizes):
    with pytest.raises(ConfigError, match=r"arch.pool_sizes: \d+ grids cannot share the 128 .*arch.pool_sizes=\["):
        create_model("pspnet", "resnet18", pool_sizes=pool_sizes)
