"""Feature pyramid network for segmentation (Lin et al. 2017; Kirillov et al. 2019, https://arxiv.org/abs/1901.02446)."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder
from segtrain.models.layers import Interpolation, initialize_he, resize

_LEVELS = 4
_NORM_GROUPS = 32


class FPN(Decoder):
    """Top-down pyramid over the four coarsest maps, whose levels are upsampled to the finest and merged.

    Raises ``ConfigError`` for an encoder with fewer maps, and for ``segmentation_channels`` that
    are no multiple of 32.
    """

    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        pyramid_channels: Annotated[int, Range(low=1)] = 256,
        segmentation_channels: Annotated[int, Range(low=1)] = 128,
        dropout: Annotated[float, Range(low=0, high=1)] = 0.2,
        merge: Literal["add", "cat"] = "add",
        interpolation: Interpolation = "nearest",
    ) -> None:
        super().__init__()
        _check_options(encoder_strides, segmentation_channels)
        c2, c3, c4, c5 = encoder_channels[-_LEVELS:]
        self.p5 = nn.Conv2d(c5, pyramid_channels, kernel_size=1)
        self.p4 = TopDown(c4, pyramid_channels, interpolation=interpolation)
        self.p3 = TopDown(c3, pyramid_channels, interpolation=interpolation)
        self.p2 = TopDown(c2, pyramid_channels, interpolation=interpolation)
        self.seg_blocks = nn.ModuleList(
            SegmentationBranch(pyramid_channels, segmentation_channels, steps=steps) for steps in (3, 2, 1, 0)
        )
        self.merge = merge
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = segmentation_channels * (_LEVELS if merge == "cat" else 1)
        self.out_stride = encoder_strides[-_LEVELS]
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into one at ``out_stride``."""
        c2, c3, c4, c5 = features[-_LEVELS:]  # of strides 4, 8, 16 and 32 for an encoder of depth 5
        p5 = self.p5(c5)
        p4 = self.p4(p5, c4)
        p3 = self.p3(p4, c3)
        p2 = self.p2(p3, c2)

        pyramid = [p5, p4, p3, p2]  # (N, pyramid_channels, ...) each, coarsest first
        sizes = [level.shape[-2:] for level in pyramid]
        finer = [sizes[i + 1 :] for i in range(_LEVELS)]
        branches = [branch(level, to) for branch, level, to in zip(self.seg_blocks, pyramid, finer, strict=True)]
        # In place on the first branch, an interpolation, whose backward pass does not read its result.
        merged = torch.cat(branches, dim=1) if self.merge == "cat" else reduce(Tensor.add_, branches)
        return self.dropout(merged)  # type: ignore[no-any-return]


class TopDown(nn.Module):
    """One step down the pyramid: the coarser level, upsampled, plus the encoder's map through a 1x1 convolution."""

    def __init__(self, skip_channels: int, pyramid_channels: int, *, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.skip_conv = nn.Conv2d(skip_channels, pyramid_channels, kernel_size=1)

    def forward(self, coarser: Tensor, skip: Tensor) -> Tensor:
        """Return a level of the size of ``skip``."""
        level: Tensor = self.skip_conv(skip)
        return level.add_(resize(coarser, skip.shape[-2:], mode=self.interpolation))


class SegmentationBranch(nn.Module):
    """Upsamples one pyramid level to the finest: a convolution before each of ``steps`` upsamplings, at least one."""

    def __init__(self, in_channels: int, out_channels: int, *, steps: int) -> None:
        super().__init__()
        widths = [in_channels, *[out_channels] * max(1, steps)]
        self.block = nn.Sequential(*(ConvGroupNormReLU(before, after) for before, after in pairwise(widths)))

    def forward(self, level: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Pass through the sizes of all finer levels, coarsest first."""
        if not sizes:
            return self.block(level)  # type: ignore[no-any-return]
        for conv, size in zip(self.block, sizes, strict=True):
            level = F.interpolate(conv(level), size=size, mode="bilinear", align_corners=True)
        return level


class ConvGroupNormReLU(nn.Module):
    """A 3x3 convolution, group normalisation and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(_NORM_GROUPS, out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of the map."""
        return self.block(x)  # type: ignore[no-any-return]


def _check_options(encoder_strides: Sequence[int], segmentation_channels: int) -> None:
    if len(encoder_strides) < _LEVELS:
        raise ConfigError(
            f"arch: fpn needs {_LEVELS} maps, this encoder gives {len(encoder_strides)} at strides "
            f"{list(encoder_strides)}; raise encoder.depth, for example encoder.depth=5"
        )
    if segmentation_channels % _NORM_GROUPS:
        raise ConfigError(
            f"arch.segmentation_channels: {segmentation_channels} is no multiple of {_NORM_GROUPS}, "
            "as its group normalisation needs; for example arch.segmentation_channels=128"
        )
