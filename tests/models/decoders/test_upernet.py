import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import UPerNet
from segtrain.models.decoders.upernet import PyramidPooling
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 48}, {"decoder_channels": 48}),
    "depth 3": ({"encoder_depth": 3}, {"encoder_depth": 3}),
    "depth 4": ({"encoder_depth": 4}, {"encoder_depth": 4}),
}
CHANNELS = (3, 5, 6, 7, 8, 9)


def _pair(encoder, ours, theirs):
    return pair(smp.UPerNet(encoder, encoder_weights=None, classes=3, **theirs), "upernet", encoder, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


def test_logits_equal_those_of_smp_on_an_encoder_without_stride_two():
    assert_same_logits(*_pair("tu-convnext_atto", {}, {}))


@pytest.mark.parametrize("option", ["defaults", "channels"])
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-mobilenetv3_small_100", *OPTIONS[option]))


def test_gradients_equal_those_of_smp_on_an_encoder_without_stride_two():
    assert_same_gradients(*_pair("tu-convnext_atto", {}, {}))


def test_without_norm_logits_equal_those_of_smp_once_its_one_batch_norm_is_folded():
    theirs = smp.UPerNet("tu-resnet18", encoder_weights=None, decoder_use_norm=False, classes=3).eval()
    out_conv = theirs.decoder.psp.out_conv
    out_conv[0], out_conv[1] = fuse_conv_bn_eval(out_conv[0], out_conv[1]), torch.nn.Identity()
    assert_same_logits(*pair(theirs, "upernet", "tu-resnet18", norm="none"))


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "none"])
@pytest.mark.parametrize("pool_sizes", [[1], [1, 2, 3, 6, 8]])
def test_a_batch_of_one_trains_with_every_norm(norm, pool_sizes):
    decoder = UPerNet((3, 6, 7), (1, 4, 8), channels=16, norm=norm, pool_sizes=pool_sizes).train()
    features = [torch.randn(1, c, *size) for c, size in zip((3, 6, 7), [(65, 97), (17, 25), (9, 13)], strict=True)]
    decoder(features).square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_pooling_appends_the_average_of_each_region():
    pooling = PyramidPooling(2, 2, pool_sizes=[1, 2], norm="none").eval()
    for block in pooling.blocks:
        torch.nn.init.eye_(block[1][0].weight.data[..., 0, 0])
        torch.nn.init.zeros_(block[1][0].bias)
    pooling.out_conv = torch.nn.Identity()
    x = torch.rand(1, 2, 4, 4)
    with torch.no_grad():
        itself, whole, quarters = pooling(x).split(2, dim=1)
    assert torch.equal(itself, x)
    torch.testing.assert_close(whole, x.mean((2, 3), keepdim=True).expand_as(x))
    torch.testing.assert_close(quarters[..., 0, 0], x[..., :2, :2].mean((2, 3)))


@pytest.mark.parametrize(
    ("strides", "sizes", "out_stride"),
    [
        ((1, 2, 4, 8), [(65, 97), (33, 49), (17, 25), (9, 13)], 4),
        ((1, 2, 4, 8, 8, 8), [(65, 97), (33, 49), (17, 25), (9, 13), (9, 13), (9, 13)], 4),
        ((1, 4, 8), [(65, 97), (17, 25), (9, 13)], 4),
        ((1, 16, 16), [(65, 97), (5, 7), (5, 7)], 16),
    ],
)
def test_odd_sizes_and_dilated_or_shallow_encoders_reach_every_parameter(strides, sizes, out_stride):
    torch.manual_seed(0)
    decoder = UPerNet(CHANNELS[: len(strides)], strides, channels=16).train()
    features = [torch.randn(1, c, *size) for c, size in zip(CHANNELS, sizes, strict=False)]
    decoded = decoder(features)
    assert decoder.out_stride == out_stride
    assert decoded.shape == (1, 16, -(-65 // out_stride), -(-97 // out_stride))
    decoded.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_the_maps_of_the_encoder_are_left_as_they_are():
    features = [torch.randn(1, 3, 16, 16), torch.randn(1, 6, 4, 4), torch.randn(1, 7, 2, 2)]
    before = [x.clone() for x in features]
    with torch.no_grad():
        UPerNet((3, 6, 7), (1, 4, 8), channels=8).eval()(features)
    assert all(torch.equal(x, y) for x, y in zip(features, before, strict=True))


def test_an_encoder_that_is_too_shallow_is_explained():
    with pytest.raises(
        ConfigError, match=r"upernet needs 2 maps of stride 4 or more.*\[1, 2, 4\]; raise encoder.depth"
    ):
        create_model("upernet", "resnet18", encoder_depth=2)
