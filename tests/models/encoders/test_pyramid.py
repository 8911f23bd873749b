"""The simple feature pyramid: maps of other strides from the one map of a plain transformer."""

import pytest
import torch
from torch import nn

from segtrain.models.encoders.pyramid import SimpleFeaturePyramid


@pytest.mark.parametrize(
    ("stride", "strides", "channels"), [(16, (4, 8, 16, 32), (16, 32, 64, 64)), (8, (2, 8, 64), (16, 64, 64))]
)
def test_maps_have_their_strides_and_channels_halve_with_them(stride, strides, channels):
    pyramid = SimpleFeaturePyramid(64, stride, strides)
    maps = pyramid(torch.randn(2, 64, 128 // stride, 256 // stride))
    assert pyramid.out_channels == channels
    assert [tuple(found.shape) for found in maps] == [
        (2, count, 128 // target, 256 // target) for count, target in zip(channels, strides, strict=True)
    ]


def test_a_step_between_two_enlargements_normalises_and_the_map_itself_passes():
    pyramid = SimpleFeaturePyramid(8, 16, (4, 16, 32))
    kinds = [type(layer) for layer in pyramid.levels[0]]
    assert kinds[0] is kinds[-1] is nn.ConvTranspose2d
    assert kinds[2] is nn.GELU
    assert len(kinds) == 4
    x = torch.randn(1, 8, 4, 4)
    _, same, pooled = pyramid(x)
    assert torch.equal(same, x)
    assert torch.equal(pooled, x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)))
