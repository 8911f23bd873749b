"""Weights of colour images for images with other numbers of channels, over all families of networks."""

import pytest
import timm
import torch

from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder

FAMILIES = [
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_vit",
    "test_nfnet",  # standardised weights
    "test_byobnet",
    "dpn68",
    "mit_b0",
    "repvgg_a0",
    "levit_128s",
    "pvt_v2_b0",
    "xcit_nano_12_p16_224",
    "efficientvit_b0",
    "coat_lite_tiny",
]
LARGE = [
    "gcvit_xxtiny",
    "hrnet_w18_small",
    "legacy_xception",
    "mobileone_s0",  # several branches in the stem
    "tresnet_m",  # patches of 4x4 pixels as channels
    "densenet121",
    "inception_v4",
    "swin_tiny_patch4_window7_224",
    "samvit_base_patch16",
    "beit_base_patch16_224",  # sees tiles
    "vgg11",
    "naflexvit_base_patch16_gap",  # patches as tokens
    "dm_nfnet_f0",
    "crossvit_tiny_240",  # two stems
    "volo_d1_224",
    "hiera_tiny_224",
    "mvitv2_tiny",
    "maxvit_nano_rw_256",
    "vit_small_patch14_dinov2",
]


@pytest.fixture
def encoder_of(tmp_path):
    """Build encoders of a network with the weights of one file."""

    def build(name, in_channels):
        torch.manual_seed(1)  # for what is no weight of the network, such as a pyramid
        return TimmEncoder(name, weights=str(tmp_path / "weights.pth"), in_channels=in_channels).eval()

    def write(name):
        torch.manual_seed(0)
        TimmEncoder(name, weights=None)  # registers what timm lacks
        torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
        return lambda in_channels: build(name, in_channels)

    return write


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_a_gray_image_gives_what_a_colour_image_of_equal_channels_gives(encoder_of, name):
    build = encoder_of(name)
    colour, gray, many = (build(channels) for channels in (3, 1, 13))
    side = colour.tile or -(-64 // colour.size_multiple) * colour.size_multiple
    image = torch.randn(1, 1, side, side)
    copied = _copy_levels(colour, gray)
    assert copied == (colour.pyramid is not None)
    with torch.no_grad():
        expected = colour(image.expand(-1, 3, -1, -1))[1:]
        for ours, theirs in zip(gray(image)[1:], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())
    _check_stem(colour, many, exact="nfnet" not in name)


def _copy_levels(source, target):
    """Give the pyramid of one encoder to another, as the random numbers that it began with differ."""
    if source.pyramid is not None:
        target.pyramid.load_state_dict(source.pyramid.state_dict())
    return source.pyramid is not None


def _check_stem(colour, many, *, exact):
    """Compare what depends on the number of channels with the colours repeated in turn, 13 for 3."""
    own, wide = colour.model.state_dict(), many.model.state_dict()
    stem = [name for name in own if own[name].shape != wide[name].shape]
    assert stem
    turns = [i % 3 for i in range(13)]
    for name in stem if exact else []:
        expected = own[name].unflatten(1, (-1, 3))[:, :, turns].flatten(1, 2) * 3 / 13
        torch.testing.assert_close(wide[name], expected)


def test_standardised_weights_keep_their_size_for_many_channels(encoder_of):
    build = encoder_of("test_nfnet")
    colour, nine = build(3), build(9)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(nine(image.repeat(1, 3, 1, 1))[1:], colour(image)[1:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_network_that_computes_with_colours_is_refused(encoder_of):
    with pytest.raises(ConfigError, match=r"encoder\.name: csatv2 takes images of three channels only"):
        encoder_of("csatv2")(4)
