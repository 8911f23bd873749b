"""Simple feature pyramid: maps of several strides from the last map of a plain transformer (Li et al. 2022)."""

from collections.abc import Sequence

from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn


class SimpleFeaturePyramid(nn.Module):
    """Resamples a map of stride ``stride`` to maps of ``strides``, all powers of two (https://arxiv.org/abs/2203.16527).

    Each halving of the stride is a transposed convolution that halves the channels, each doubling a pooling.
    """

    def __init__(self, channels: int, stride: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(max(1, channels * min(target, stride) // stride) for target in strides)
        self.levels = nn.ModuleList(_resample(channels, stride, target) for target in strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Resample ``(N, C, H, W)`` to ``(N, out_channels[i], h, w)`` for each of ``strides``."""
        return [level(x) for level in self.levels]


def _resample(channels: int, stride: int, target: int) -> nn.Sequential:
    level = nn.Sequential()
    if target > stride:
        level.append(nn.MaxPool2d(target // stride))
    while target < stride:
        if len(level):
            level += nn.Sequential(LayerNorm2d(channels), nn.GELU())
        level.append(nn.ConvTranspose2d(channels, max(1, channels // 2), 2, stride=2))
        channels, stride = max(1, channels // 2), stride // 2
    return level
