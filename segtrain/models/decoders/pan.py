"""Pyramid attention network (Li et al. 2018, https://arxiv.org/abs/1805.10180)."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Demands
from segtrain.models.layers import Interpolation, PooledBatchNorm2d, crop, initialize_he
from segtrain.models.tracing import is_exporting

_FINEST_STRIDE = 4


class PAN(Decoder):
    """Feature pyramid attention on the coarsest map, then finer maps, their channels weighted by the coarser one.

    Raises ``ConfigError`` for an encoder with less than two maps of stride 4 and coarser.
    """

    demands = Demands(output_stride=16)
    head_kernel_size = 3

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 32,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        super().__init__()
        self.finest = _find_finest(encoder_strides)
        self.fpa = FeaturePyramidAttention(encoder_channels[-1], channels, interpolation=interpolation)
        for level, skip_channels in enumerate(encoder_channels[self.finest : -1], start=1):
            # Numbered from the finest skip on, as in segmentation_models_pytorch, whose weights load.
            block = GlobalAttentionUpsample(skip_channels, channels, interpolation=interpolation)
            self.add_module(f"gau{level}", block)
        self.out_channels = channels
        self.out_stride = encoder_strides[self.finest]
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps of stride 4 and coarser."""
        *skips, coarsest = features[self.finest :]
        x: Tensor = self.fpa(coarsest)
        for level in range(len(skips), 0, -1):
            x = self.get_submodule(f"gau{level}")(skips[level - 1], x)
        return x


class FeaturePyramidAttention(nn.Module):
    """Weighs each pixel by an attention map of three coarser scales, and adds the global mean (section 3.2)."""

    def __init__(self, in_channels: int, out_channels: int, *, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.branch1 = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvBatchNorm(in_channels, out_channels))
        self.mid = nn.Sequential(ConvBatchNorm(in_channels, out_channels))
        self.down1 = nn.Sequential(Halve(), ConvBatchNorm(in_channels, 1, kernel_size=7))
        self.down2 = nn.Sequential(Halve(), ConvBatchNorm(1, 1, kernel_size=5))
        self.down3 = nn.Sequential(Halve(), ConvBatchNorm(1, 1, kernel_size=3), ConvBatchNorm(1, 1, kernel_size=3))
        self.conv2 = ConvBatchNorm(1, 1, kernel_size=5)
        self.conv1 = ConvBatchNorm(1, 1, kernel_size=7)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of the map: ``(N, C, H, W) -> (N, out_channels, H, W)``."""
        half = self.down1(x)  # (N, 1, H/2, W/2): attention has a single channel
        quarter = self.down2(half)  # (N, 1, H/4, W/4)
        eighth = self.down3(quarter)  # (N, 1, H/8, W/8)

        attention = self.conv2(quarter) + self._resize_like(quarter, eighth)
        attention = self.conv1(half) + self._resize_like(half, attention)
        attention = self._resize_like(x, attention)  # (N, 1, H, W)
        # (N, out_channels, H, W) * (N, 1, H, W) + (N, out_channels, 1, 1)
        return self.mid(x) * attention + self.branch1(x)  # type: ignore[no-any-return]

    def _resize_like(self, template: Tensor, x: Tensor) -> Tensor:
        return resize_aligned(x, template.shape[-2:], mode=self.interpolation)


class GlobalAttentionUpsample(nn.Module):
    """Weighs the channels of a finer map by the mean of the coarser one and adds both (section 3.3)."""

    def __init__(self, skip_channels: int, channels: int, *, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.conv1 = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvBatchNorm(channels, channels, relu=False), nn.Sigmoid())
        self.conv2 = ConvBatchNorm(skip_channels, channels, kernel_size=3)

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        """Return a map ``(N, channels, H, W)`` of the size of ``skip``."""
        upsampled = resize_aligned(coarser, skip.shape[-2:], mode=self.interpolation)
        merged: Tensor = upsampled + self.conv2(skip) * self.conv1(coarser)
        return merged


class ConvBatchNorm(nn.Module):
    """A same-size convolution, batch normalisation and, unless told otherwise, a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.bn = PooledBatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of the map."""
        return self.activation(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class SameConv2d(nn.Conv2d):
    """A same-size convolution that skips the taps which only meet padding, on maps smaller than its kernel.

    They add nothing, and in bf16 on CPUs they spoil the gradient of a 7x7 kernel on a 2x2 map
    (torch 2.14, oneDNN).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        if is_exporting():  # a graph for all sizes needs all taps
            return super().forward(input)
        reach = [min(size // 2, side - 1) for size, side in zip(self.kernel_size, input.shape[-2:], strict=True)]
        rows, columns = (
            slice(size // 2 - taps, size // 2 + taps + 1) for size, taps in zip(self.kernel_size, reach, strict=True)
        )
        return F.conv2d(input, self.weight[..., rows, columns], self.bias, padding=reach)


class Halve(nn.Module):
    """Max pooling by two, except along a side of one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, max(1, H // 2), max(1, W // 2))``."""
        height, width = x.shape[-2:]
        if is_exporting():
            # For all sizes: pooling rounded up, then cropped to the size rounded down, or to 1.
            rounded_up = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2)
            return crop(rounded_up, _half(height), _half(width))
        return F.max_pool2d(x, [min(2, height), min(2, width)])


def _half(length: int) -> int:
    """Compute max(1, length // 2) as an unbacked size, so that export does not specialise on a length of 1."""
    half: Any = torch.scalar_tensor(length // 2, dtype=torch.int64).clamp_min(1).item()
    torch._check(half >= 1)
    return half  # type: ignore[no-any-return]


def resize_aligned(x: Tensor, size: Sequence[int], *, mode: Interpolation) -> Tensor:
    """Resize ``(N, C, H, W)`` to ``size``; bilinear keeps the corner pixels in the corners."""
    height, width = size
    if is_exporting() and mode == "bilinear":
        return _resize_axis(_resize_axis(x, height, axis=-2), width, axis=-1)
    return F.interpolate(x, (height, width), mode=mode, align_corners=True if mode == "bilinear" else None)


def _resize_axis(x: Tensor, length: int, *, axis: int) -> Tensor:
    """Interpolate linearly along one axis, corners aligned, without a branch on a length of 1, for export."""
    exact: dict[str, Any] = {"dtype": torch.promote_types(x.dtype, torch.float32), "device": x.device}
    own, wanted = (torch.scalar_tensor(side - 1, **exact) for side in (x.shape[axis], length))
    place = torch.arange(length, **exact) * (own / wanted.clamp_min(1))
    low = place.floor().clamp_max(own)
    first, second = (x.index_select(axis, at.long()) for at in (low, (low + 1).minimum(own)))
    share = (place - low).to(x.dtype)
    return torch.lerp(first, second, share if axis == -1 else share.unsqueeze(-1))


def _find_finest(encoder_strides: Sequence[int]) -> int:
    first = next((i for i, stride in enumerate(encoder_strides) if stride >= _FINEST_STRIDE), len(encoder_strides))
    if len(encoder_strides) - first < 2:
        raise ConfigError(
            f"arch: pan needs two maps of stride {_FINEST_STRIDE} and coarser, this encoder gives strides "
            f"{list(encoder_strides)}; raise encoder.depth, for example encoder.depth=5"
        )
    return first
