"""Depthwise convolutions that train fast in bf16 on CPUs."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_FAST_TAPS = 3
"""Side of the largest kernel whose backward pass is fast in bf16; the stride has to be 1."""


def tile_depthwise(model: nn.Module) -> int:
    """Make depthwise convolutions that are slow in bf16 on CPUs train in small tiles there; return how many.

    In the channels_last layout the backward pass of kernels beyond 3x3, and of any kernel with
    stride 2, is 10 to 80 times slower than that of a 3x3 with stride 1 (torch 2.14, oneDNN); in
    fp32 still 5 to 20 times. Written as a sum of small stride-1 convolutions it is fast throughout.
    Where bf16 autocast on a CPU is off, nothing changes; weights and ``state_dict`` never do.
    """
    slow = [module for module in model.modules() if type(module) in _TILED and _is_slow(module)]
    for conv in slow:
        # The class alone changes: parameters stay the same objects, which an optimizer may hold
        # already.
        conv.__class__ = _TILED[type(conv)]
    return len(slow)


class TiledConv2d(nn.Conv2d):
    """A depthwise convolution with the backward pass of :class:`_TiledBackward` under bf16 autocast on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)`` as ``nn.Conv2d`` does."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.to(dtype)
            # Cast outside of the function, so that it keeps bf16 tensors for its backward pass.
            out: Tensor = _TiledBackward.apply(self._pad(x.to(dtype)), self.weight.to(dtype), self.stride[0])
            return out if bias is None else out + bias.view(-1, 1, 1)

    def _pad(self, x: Tensor) -> Tensor:
        rows, columns = (int(padding) for padding in self.padding)
        return F.pad(x, (columns, columns, rows, rows))


class TiledConv2dSame(TiledConv2d, Conv2dSame):
    """The same with TensorFlow's padding."""

    def _pad(self, x: Tensor) -> Tensor:
        padded: Tensor = pad_same(x, list(self.kernel_size), list(self.stride))
        return padded


_TILED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: TiledConv2d, Conv2dSame: TiledConv2dSame}


def _is_slow(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    square = conv.kernel_size[0] == conv.kernel_size[1] and conv.stride[0] == conv.stride[1]
    plain = square and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return depthwise and plain and (conv.kernel_size[0] > _FAST_TAPS or conv.stride[0] > 1)


class _TiledBackward(torch.autograd.Function):
    """Depthwise convolution without padding; the backward pass is a sum over tiles of the kernel.

    A tile holds at most 3x3 taps that lie ``stride`` apart. Its part of the output is a stride-1 convolution of every
    ``stride``-th row and column of the image.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        stride, (height, width) = ctx.stride, grad.shape[-2:]
        # With stride 1 the gradient of the image is fast as a whole, and only that of the weight
        # needs tiles.
        grad_x = torch.zeros_like(x) if stride > 1 else _backward(grad, x, weight, [True, False, False])[0]
        grad_weight = torch.empty_like(weight)
        taps = _split_taps(weight.shape[-1], stride)
        for rows in taps:
            for columns in taps:
                part = weight[..., rows, columns]  # (C, 1, 1..3, 1..3)
                # The pixels that these taps meet: every stride-th, one more for each further tap.
                region = (
                    ...,
                    slice(rows.start, rows.start + stride * (height + part.shape[-2] - 1), stride),
                    slice(columns.start, columns.start + stride * (width + part.shape[-1] - 1), stride),
                )
                to_x, to_weight, _ = _backward(grad, x[region], part, [stride > 1, True, False])
                grad_weight[..., rows, columns] = to_weight
                if stride > 1:
                    grad_x[region] += to_x
        return grad_x, grad_weight, None


def _split_taps(kernel_size: int, stride: int) -> list[slice]:
    """Split the taps along one side into runs of at most three that lie ``stride`` apart."""
    reach = _FAST_TAPS * stride  # 5 taps at stride 2 become 0, 2, 4 and 1, 3
    return [
        slice(start, min(start + reach, kernel_size), stride)
        for phase in range(stride)
        for start in range(phase, kernel_size, reach)
    ]


def _backward(grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate a depthwise stride-1 convolution without padding by image, weight and bias, where ``wanted``."""
    one, zero = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        grad, x, weight, None, one, zero, one, False, zero, x.shape[1], wanted
    )
