import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import MAnet
from segtrain.models.decoders.manet import FusionBlock
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

INSTANCE = {"type": "instancenorm", "affine": True}
OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": [40, 32, 24, 16, 8]}, {"decoder_channels": [40, 32, 24, 16, 8]}),
    "keys": ({"pab_channels": 24}, {"decoder_pab_channels": 24}),
    "no norm": ({"norm": "none"}, {"decoder_use_norm": False}),
    "instance": ({"norm": "instance"}, {"decoder_use_norm": INSTANCE}),
    "bilinear": ({"interpolation": "bilinear"}, {"decoder_interpolation": "bilinear"}),
    "bicubic": ({"interpolation": "bicubic"}, {"decoder_interpolation": "bicubic"}),
    "depth": ({"encoder_depth": 3}, {"encoder_depth": 3, "decoder_channels": [64, 32, 16]}),
}
CHANNELS = (3, 5, 6, 7, 8, 9)


def _pair(encoder, ours, theirs):
    return pair(smp.MAnet(encoder, encoder_weights=None, classes=3, **theirs), "manet", encoder, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "no norm"])
def test_logits_equal_those_of_smp_on_an_encoder_without_stride_two(option):
    assert_same_logits(*_pair("tu-convnext_atto", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "no norm", "bicubic"])
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-mobilenetv3_small_100", *OPTIONS[option]))


def test_gradients_equal_those_of_smp_on_an_encoder_without_stride_two():
    assert_same_gradients(*_pair("tu-convnext_atto", {}, {}))


def test_the_reduction_narrows_the_attention_to_channels():
    wide, narrow = (MAnet((3, 32, 64), (1, 2, 4), reduction=reduction).blocks[0].SE_ll[1] for reduction in (4, 1000))
    assert (wide.out_channels, narrow.out_channels) == (8, 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_doubling_a_map_keeps_its_channel_means(interpolation):
    """Why the channels may be weighed before the map is upsampled."""
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    doubled = torch.nn.functional.interpolate(x, scale_factor=2, mode=interpolation)
    torch.testing.assert_close(doubled.mean((2, 3)), x.mean((2, 3)))


def test_without_a_skip_a_step_is_that_of_a_unet():
    decoder = MAnet((3, 6, 7), (1, 4, 8))
    assert [isinstance(block, FusionBlock) for block in decoder.blocks] == [True, False, False]


@pytest.mark.parametrize(
    ("strides", "sizes"),
    [
        ((1, 2, 4, 8), [(65, 97), (33, 49), (17, 25), (9, 13)]),
        ((1, 2, 4, 8, 8, 8), [(65, 97), (33, 49), (17, 25), (9, 13), (9, 13), (9, 13)]),
        ((1, 4, 8), [(65, 97), (17, 25), (9, 13)]),
    ],
)
def test_odd_sizes_and_dilated_or_shallow_encoders_reach_every_parameter(strides, sizes):
    torch.manual_seed(0)
    decoder = MAnet(CHANNELS[: len(strides)], strides).train()
    features = [torch.randn(1, c, *size) for c, size in zip(CHANNELS, sizes, strict=False)]
    decoded = decoder(features)
    assert decoded.shape == (1, 16, 65, 97)
    decoded.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_too_few_channels_are_explained():
    with pytest.raises(ConfigError, match=r"arch.channels: got 2 numbers, this encoder asks for 5.*arch.channels=\["):
        create_model("manet", "resnet18", channels=[32, 16])
