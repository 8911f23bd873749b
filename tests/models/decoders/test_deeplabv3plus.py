import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import DeepLabV3Plus
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 64}, {"decoder_channels": 64}),
    "rates": ({"atrous_rates": [1, 3, 5]}, {"decoder_atrous_rates": [1, 3, 5]}),
    "dense": ({"separable": False}, {"decoder_aspp_separable": False}),
    "stride 8": ({"encoder_output_stride": 8}, {"encoder_output_stride": 8}),
    "depth 3": ({"encoder_depth": 3}, {"encoder_depth": 3}),
    "depth 4": ({"encoder_depth": 4}, {"encoder_depth": 4}),
}


def _pair(encoder, ours, theirs):
    model = smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=3, decoder_aspp_dropout=0.0, **theirs)
    return pair(model, "deeplabv3plus", encoder, dropout=0.0, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-mobilenetv3_small_100"])
def test_logits_equal_those_of_smp_on_other_encoders(encoder):
    assert_same_logits(*_pair(encoder, {}, {}))


@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("output_stride", [None, 8, 32])
def test_the_result_has_stride_four_whatever_the_encoder_is_dilated_to(output_stride):
    model = create_model("deeplabv3plus", "resnet18", encoder_output_stride=output_stride).eval()
    assert max(model.encoder.strides) == (output_stride or 16)
    with torch.no_grad():
        assert model.decoder(model.encoder(torch.randn(1, 3, 65, 97))).shape == (1, 256, 17, 25)


def test_dropout_follows_the_pyramid_as_in_smp():
    ours, theirs = create_model("deeplabv3plus", "resnet18"), smp.DeepLabV3Plus("tu-resnet18", encoder_weights=None)
    assert ours.decoder.aspp[0].project[3].p == theirs.decoder.aspp[0].project[3].p == 0.5


def test_the_skip_is_reduced_to_its_channels():
    decoder = DeepLabV3Plus((3, 8, 16, 32), (1, 2, 4, 8), channels=10, skip_channels=7)
    assert decoder.block1[0].weight.shape == (7, 16, 1, 1)
    maps = [torch.randn(2, channels, 32 // stride, 32 // stride) for channels, stride in [(8, 2), (16, 4), (32, 8)]]
    assert decoder([torch.empty(0), *maps]).shape == (2, 10, 8, 8)


@pytest.mark.parametrize("separable", [False, True])
def test_a_batch_of_one_trains_although_the_pooled_map_is_one_pixel(separable):
    model = create_model("deeplabv3plus", "resnet18", separable=separable).train()
    model(torch.randn(1, 3, 65, 97)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ((1, 16, 16), r"needs a map of stride 4, this encoder gives strides \[1, 16, 16\]; take another encoder"),
        ((1, 2, 4), r"needs a map coarser than stride 4, this encoder gives strides \[1, 2, 4\]; raise encoder.depth"),
    ],
)
def test_an_encoder_that_lacks_one_of_the_two_maps_is_explained(strides, message):
    with pytest.raises(ConfigError, match=message):
        DeepLabV3Plus((3, 8, 8), strides)
