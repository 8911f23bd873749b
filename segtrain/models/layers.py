"""Small blocks that several decoders share."""

from collections.abc import Sequence
from math import gcd
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from segtrain.errors import ConfigError

Norm: TypeAlias = Literal["batch", "group", "layer", "instance", "none"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Build the normalisation of a map ``(N, channels, H, W)``; ``layer`` normalises over channels at each pixel."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(gcd(32, channels), channels)
    if norm == "layer":
        return LayerNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "none":
        return nn.Identity()
    raise ConfigError(f"norm: unknown choice {norm!r}, expected one of batch, group, layer, instance, none")


class ConvNormReLU(nn.Sequential):
    """A same-size convolution, a normalisation and a ReLU; the convolution has a bias where nothing normalises."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 3, norm: Norm = "batch") -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=norm == "none")
        super().__init__(conv, make_norm(norm, out_channels), nn.ReLU(inplace=True))


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
        weighted: Tensor = x * (self.cSE(x) + self.sSE(x))
        return weighted


def resize(x: Tensor, size: Sequence[int], *, mode: Interpolation = "nearest") -> Tensor:
    """Resize ``(N, C, H, W)`` to ``size``; interpolating modes keep pixel centres (``align_corners=False``)."""
    height, width = size
    return x if x.shape[-2:] == (height, width) else F.interpolate(x, size=(height, width), mode=mode)


def initialize_he(module: nn.Module) -> None:
    """Draw the weights of all convolutions from He et al. 2015 (uniform, fan in, ReLU) and zero their biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _InFp32(nn.Conv2d):
    """A convolution that computes in fp32 under autocast, and returns the type that it was given."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class _SameInFp32(_InFp32, Conv2dSame):
    """The same with TensorFlow's padding."""


_IN_FP32: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: _InFp32, Conv2dSame: _SameInFp32}


def keep_depthwise_in_fp32(model: nn.Module) -> int:
    """Let the depthwise convolutions with large kernels or strides compute in fp32 under autocast; return how many.

    For bf16 on CPUs only: there their backward pass in the channels_last layout takes 3 to 8 times as long in bf16 as
    in fp32 (measured with torch 2.14, oneDNN). Weights and ``state_dict`` stay as they are.
    """
    slow = [m for m in model.modules() if type(m) in _IN_FP32 and _is_slow_in_bf16(m)]
    for conv in slow:
        conv.__class__ = _IN_FP32[type(conv)]
    return len(slow)


def _is_slow_in_bf16(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    depthwise = conv.groups == conv.in_channels > 1
    return depthwise and (max(conv.kernel_size) >= 5 or max(conv.stride) >= 2)
