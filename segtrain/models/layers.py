"""Layers that several decoders share."""

from collections.abc import Sequence
from math import gcd
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from segtrain.errors import ConfigError
from segtrain.models import resampling
from segtrain.models.tracing import is_exporting

Norm: TypeAlias = Literal["batch", "group", "layer", "instance", "none"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Build the normalisation of a map ``(N, channels, H, W)``; ``layer`` normalises over channels at each pixel."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(gcd(32, channels), channels)  # 32 groups where that divides the channels
    if norm == "layer":
        return LayerNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "none":
        return nn.Identity()
    raise ConfigError(f"norm: unknown choice {norm!r}, expected one of batch, group, layer, instance, none")


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation for maps that may shrink to one pixel, as after global pooling.

    With a batch of one that is a single value per channel, which has no variance. Training then
    normalises with the running statistics, as inference does, and does not update them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, C, H, W)``."""
        if self.training and input.numel() == input.shape[1]:  # (1, C, 1, 1), which torch refuses
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class ConvNormReLU(nn.Sequential):
    """A same-size convolution, a normalisation and a ReLU; the convolution has a bias where nothing normalises."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 3, norm: Norm = "batch") -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=norm == "none")
        super().__init__(conv, make_norm(norm, out_channels), nn.ReLU(inplace=True))

    @property
    def conv(self) -> nn.Conv2d:
        """The convolution, for those who compute it otherwise; `norm_relu` is the rest."""
        found = self[0]
        assert isinstance(found, nn.Conv2d)
        return found

    def norm_relu(self, convolved: Tensor) -> Tensor:
        """Normalise what the convolution gave, and rectify it."""
        _, norm, relu = self
        rectified: Tensor = relu(norm(convolved))
        return rectified


class SpatialChannelAttention(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, scSE, summed)."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.cSE = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )
        self.sSE = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Weigh ``(N, C, H, W)`` by channel and by pixel."""
        # (N, C, 1, 1) plus (N, 1, H, W)
        weighted: Tensor = x * (self.cSE(x) + self.sSE(x))
        return weighted


def resize(x: Tensor, size: Sequence[int], *, mode: Interpolation = "nearest") -> Tensor:
    """Resize ``(N, C, H, W)`` to ``size``; interpolating modes keep pixel centres (``align_corners=False``)."""
    height, width = size
    # An exported graph holds for all sizes, so it always resizes: one that is right already stays as it is.
    if not is_exporting() and x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode=mode)


class GridPool(nn.AdaptiveAvgPool2d):
    """Averages of a map ``(N, C, H, W)`` over ``cells`` x ``cells`` of any size, in an exported graph too.

    There torch's own is a graph for sizes of the traced remainders alone, which answers wrongly to others.
    """

    def __init__(self, cells: int) -> None:
        super().__init__(cells)
        self.cells = cells

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(N, C, cells, cells)``."""
        if self.cells == 1 or not is_exporting():
            return super().forward(input)
        rows, columns = (resampling.averages(side, self.cells, input.device) for side in input.shape[-2:])
        return resampling.apply(rows.to(input.dtype), columns.to(input.dtype), input)


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Crop ``(N, C, H, W)`` to its first ``height`` rows and ``width`` columns."""
    if not is_exporting():
        return x[..., :height, :width]
    # A slice would bind an exported graph to whether there was something to cut off.
    rows, columns = (torch.arange(length, device=x.device) for length in (height, width))
    return x.index_select(-2, rows).index_select(-1, columns)


def initialize_he(module: nn.Module) -> None:
    """Initialise the weights of all convolutions by He et al. 2015 (uniform, fan in, ReLU), their biases by 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
