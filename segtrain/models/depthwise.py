"""Depthwise convolutions that train fast in bf16 on CPUs."""

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Rim: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""Zeros around an image: rows above and below, columns left and right."""
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
            stride, rim = self.stride[0], self._rim(x)
            out: Tensor = _TiledBackward.apply(x.to(dtype), self.weight.to(dtype), stride, rim)
            return out if bias is None else out + bias.view(-1, 1, 1)

    def _rim(self, _x: Tensor) -> Rim:
        rows, columns = (int(padding) for padding in self.padding)
        return ((rows, rows), (columns, columns))


class TiledConv2dSame(TiledConv2d, Conv2dSame):
    """The same with TensorFlow's padding."""

    def _rim(self, x: Tensor) -> Rim:
        rows, columns = (
            get_same_padding(size, kernel, stride, 1)
            for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        return ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))


_TILED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: TiledConv2d, Conv2dSame: TiledConv2dSame}


def _is_slow(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    square = conv.kernel_size[0] == conv.kernel_size[1] and conv.stride[0] == conv.stride[1]
    plain = square and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return depthwise and plain and (conv.kernel_size[0] > _FAST_TAPS or conv.stride[0] > 1)


class _TiledBackward(torch.autograd.Function):
    """Depthwise convolution of an image within a rim of zeros; the backward pass is a sum over tiles of the kernel.

    A tile holds at most 3x3 taps that lie ``stride`` apart. Its part of the output is a stride-1 convolution of every
    ``stride``-th row and column of the image: the padded image is never written.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, rim: Rim) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.rim = stride, rim
        # A rim that is wider before or after is taken as an even one, of which places before the first are left out.
        padding = [before + stride * max(0, -(-(after - before) // stride)) for before, after in rim]
        out = F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1])
        sizes = [
            (length + before + after - weight.shape[-1]) // stride + 1
            for length, (before, after) in zip(x.shape[-2:], rim, strict=True)
        ]
        first = [(padded - before) // stride for padded, (before, _) in zip(padding, rim, strict=True)]
        out = out[..., first[0] : first[0] + sizes[0], first[1] : first[1] + sizes[1]]
        return out.contiguous(memory_format=torch.channels_last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, rim, kernel_size = ctx.stride, ctx.rim, weight.shape[-1]
        # With stride 1 the gradient of the image is fast as a whole, and only that of the weight needs tiles.
        (top, bottom), (left, right) = rim
        is_whole = stride == 1 and (top, left) == (bottom, right)
        grad_weight = torch.empty_like(weight)
        grad_x = _backward(grad, x, weight, [True, False, False], (top, left))[0] if is_whole else torch.zeros_like(x)
        taps = _split_taps(kernel_size, stride)
        are_apart = len(taps) == stride  # each pixel of the image is met by one tile
        for rows in taps:
            for columns in taps:
                part = weight[..., rows, columns]  # (C, 1, 1..3, 1..3)
                height, width = (size + taps - 1 for size, taps in zip(grad.shape[-2:], part.shape[-2:], strict=True))
                inside_y, met_y = _meet(rows.start - top, height, stride, x.shape[-2])
                inside_x, met_x = _meet(columns.start - left, width, stride, x.shape[-1])
                met = x[..., met_y, met_x]
                image = _place(met, (inside_y, inside_x), (height, width))
                to_x, to_weight, _ = _backward(grad, image, part, [not is_whole, True, False])
                grad_weight[..., rows, columns] = to_weight
                if not is_whole:
                    place, found = grad_x[..., met_y, met_x], to_x[..., inside_y, inside_x]
                    place.copy_(found) if are_apart else place.add_(found)
        return grad_x, grad_weight, None, None


def _meet(start: int, count: int, stride: int, length: int) -> tuple[slice, slice]:
    """Return which of ``count`` places, ``stride`` apart from ``start``, are pixels of ``length``; and those pixels."""
    first = max(0, -(start // stride))
    end = max(first, min(count, (length - 1 - start) // stride + 1))
    pixels = slice(start + stride * first, start + stride * (end - 1) + 1, stride) if end > first else slice(0)
    return slice(first, end), pixels


def _place(pixels: Tensor, at: tuple[slice, slice], size: tuple[int, int]) -> Tensor:
    """Return an image of zeros with pixels in that place; the pixels themselves where they fill it."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    shape = (*pixels.shape[:2], *size)
    image = torch.empty(shape, dtype=pixels.dtype, memory_format=torch.channels_last).zero_()
    rows, columns = at
    image[..., rows, columns] = pixels
    return image


def _split_taps(kernel_size: int, stride: int) -> list[slice]:
    """Split the taps along one side into runs of at most three that lie ``stride`` apart."""
    reach = _FAST_TAPS * stride  # 5 taps at stride 2 become 0, 2, 4 and 1, 3
    return [
        slice(start, min(start + reach, kernel_size), stride)
        for phase in range(stride)
        for start in range(phase, kernel_size, reach)
    ]


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool], padding: tuple[int, int] = (0, 0)
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiate a depthwise stride-1 convolution by image, weight and bias, where ``wanted``."""
    one, zero = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        grad, x, weight, None, one, list(padding), one, False, zero, x.shape[1], wanted
    )
