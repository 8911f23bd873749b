"""Encoders and decoders of somebody's own: what they need, and what is said where it is missing or wrong."""

import re

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.models import Encoder, assemble, decoder_inputs
from segtrain.models.encoders import TimmEncoder


class PlainDecoder(nn.Module):
    """Not derived from `Decoder`; ``attributes`` are what it says of itself."""

    def __init__(self, encoder_channels, **attributes):
        super().__init__()
        self.conv = nn.Conv2d(encoder_channels[-1], 16, 1)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, features):
        return self.conv(features[-1])


class OwnEncoder(Encoder):
    """The image and one map of stride 4."""

    def __init__(self):
        super().__init__()
        self.out_channels, self.strides, self.size_multiple = (3, 8), (1, 4), 4
        self.mean, self.std = (0.5,) * 3, (0.25,) * 3
        self.conv = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, image):
        return [image, self.conv(image)]


def build(encoder, **attributes):
    decoder = PlainDecoder(**decoder_inputs(PlainDecoder, encoder), **attributes)
    return assemble(encoder, decoder, num_classes=2)


def test_a_plain_module_that_says_channels_and_stride_is_a_decoder():
    model = build(TimmEncoder("resnet18", weights=None), out_channels=16, out_stride=32).eval()
    assert model.segmentation_head[0].kernel_size == (1, 1)
    assert model(torch.zeros(1, 3, 40, 33)).shape == (1, 2, 40, 33)


def test_it_may_ask_for_another_kernel():
    model = build(OwnEncoder(), out_channels=16, out_stride=4, head_kernel_size=3)
    assert model.segmentation_head[0].kernel_size == (3, 3)


@pytest.mark.parametrize(
    ("attributes", "lacking"),
    [
        ({}, "out_channels, out_stride"),
        ({"out_channels": 16}, "out_stride"),
        ({"out_stride": 4}, "out_channels"),
        ({"out_channels": [16], "out_stride": 4}, "out_channels"),
    ],
)
def test_a_decoder_that_lacks_something_is_told_what_it_needs(attributes, lacking):
    with pytest.raises(ConfigError, match=f"arch: PlainDecoder lacks {lacking}, ") as caught:
        build(OwnEncoder(), **attributes)
    message = str(caught.value)
    assert "self.out_channels = 16; self.out_stride = encoder_strides[-1]" in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("attributes", "owed"),
    [
        ({"out_channels": 16, "out_stride": 8}, "(N, 16, 4, 4)"),  # too much would be cropped away without a word
        ({"out_channels": 16, "out_stride": 2}, "(N, 16, 16, 16)"),
        ({"out_channels": 8, "out_stride": 4}, "(N, 8, 8, 8)"),
    ],
)
def test_a_decoder_that_says_what_is_not_so_is_told_what_it_owes(attributes, owed):
    with pytest.raises(ConfigError, match=re.escape(f"owes a map {owed} for an image of (32, 32), got (1, 16, 8, 8)")):
        build(OwnEncoder(), **attributes)(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["out_channels", "strides", "size_multiple", "mean", "std"])
def test_an_encoder_that_lacks_something_is_told_what_it_needs(name):
    encoder = OwnEncoder()
    delattr(encoder, name)
    with pytest.raises(ConfigError, match=f"encoder: OwnEncoder lacks {name}; derive it from segtrain.models.Encoder"):
        build(encoder, out_channels=16, out_stride=4)


def test_an_encoder_that_is_a_plain_module_is_told_everything_at_once():
    with pytest.raises(ConfigError, match="encoder: Conv2d lacks strides, size_multiple, mean, std, prefix_tokens"):
        build(nn.Conv2d(3, 8, 1), out_channels=16, out_stride=4)
