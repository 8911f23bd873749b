"""Convolutions of a map that is upsampled and joined to another, in training on CPUs where there are fewer pixels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.models.layers import Interpolation, resize

_LEAST_PIXELS = 16 * 16
"""Of the coarse map: below, the many channels of deep maps make the weights dearer than the pixels."""


def convolve_joined(
    conv: nn.Conv2d, x: Tensor, skip: Tensor | None, size: Sequence[int], *, mode: Interpolation
) -> Tensor:
    """Convolve ``x`` ``(N, C, h, w)``, resized to ``size``, and behind its channels those of ``skip``, of that size.

    In training on a CPU a 3x3 convolution of a map doubled by nearest neighbour is written as a transposed one of the
    map as it is, which takes four ninths of the operations; neither the doubled nor the joined map is written.
    """
    if not (conv.training and mode == "nearest" and x.device.type == "cpu" and _fits(conv, x, size)):
        return conv(join(resize(x, size, mode=mode), skip))  # type: ignore[no-any-return]
    channels = x.shape[1]
    # padding: the kernel reaches one fine pixel beyond each border, as the 3x3 one does
    out = F.conv_transpose2d(x, doubled(conv.weight[:, :channels]), conv.bias, stride=2, padding=1)
    return out if skip is None else out.add_(F.conv2d(skip, conv.weight[:, channels:], padding=1))


def join(x: Tensor, *others: Tensor | None) -> Tensor:
    """Concatenate the channels of maps ``(N, C, H, W)``, without a copy where there is one."""
    maps = [x, *(other for other in others if other is not None)]
    return torch.cat(maps, dim=1) if len(maps) > 1 else x


def doubled(weight: Tensor) -> Tensor:
    """Return the kernel ``(in, out, 4, 4)`` of a transposed convolution with stride 2, of one ``(out, in, 3, 3)``.

    Convolving a map doubled by nearest neighbour spreads each pixel by the flipped kernel, from its four copies.
    """
    rows = F.pad(weight, (0, 0, 1, 0)) + F.pad(weight, (0, 0, 0, 1))  # (out, in, 4, 3)
    spread = F.pad(rows, (1, 0)) + F.pad(rows, (0, 1))
    return spread.flip(2, 3).transpose(0, 1)


def _fits(conv: nn.Conv2d, x: Tensor, size: Sequence[int]) -> bool:
    height, width = x.shape[-2:]
    plain = conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride == conv.dilation == (1, 1)
    is_double = tuple(size) == (2 * height, 2 * width)
    return plain and conv.groups == 1 and is_double and height * width >= _LEAST_PIXELS
