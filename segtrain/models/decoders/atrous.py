"""Atrous (dilated) 3x3 convolutions, without taps that only meet padding, and fast ones on CPUs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segtrain.models.tracing import is_exporting


class AtrousConv2d(nn.Conv2d):
    """A same-size 3x3 convolution whose taps lie ``rate`` pixels apart; taps that only meet padding are skipped.

    On a map of up to ``rate`` rows these are the upper and the lower row of taps, and likewise for
    columns: on a 32x32 map at rate 36 the kernel degenerates to 1x1 (Chen et al. 2017, section
    3.3).
    """

    def __init__(self, in_channels: int, out_channels: int, *, rate: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=rate, dilation=rate, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        if is_exporting():  # a graph for all sizes needs all taps
            return super().forward(input)
        rate = int(self.dilation[0])
        reaches = [rate < length for length in input.shape[-2:]]
        rows, columns = (slice(None) if reach else slice(1, 2) for reach in reaches)
        kernel = self.weight[..., rows, columns]  # (out, in / groups, 1 or 3, 1 or 3)
        rates = [rate if reach else 1 for reach in reaches]
        if self.groups == self.in_channels and input.device.type == "cpu" and not torch.compiler.is_compiling():
            return _convolve_depthwise(input, kernel, rates)
        return _convolve(input, kernel, rates, self.groups)


def convolve_phases(x: Tensor, kernel: Tensor, rates: Sequence[int]) -> Tensor:
    """Convolve depthwise at ``rates``, along rows and columns, by undilated convolutions of the phases of a map.

    A phase is every ``rate``-th row and column. On CPUs an undilated depthwise convolution takes a
    fraction of the time (a quarter in bf16 at rate 12, copies included), unless a phase has fewer
    than three rows or columns (torch 2.14).
    """
    count, channels, *size = x.shape
    height, width = (-(-length // rate) for length, rate in zip(size, rates, strict=True))
    down, across = rates
    x = F.pad(x, (0, width * across - size[1], 0, height * down - size[0]))  # to multiples of the rates
    split = x.reshape(count, channels, height, down, width, across).permute(0, 3, 5, 2, 4, 1)
    # All phases as one batch, (N * down * across, C, height, width) in the channels_last format.
    phases = split.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    x = _convolve(phases, kernel, (1, 1), channels)
    split = x.reshape(count, down, across, channels, height, width).permute(0, 4, 1, 5, 2, 3)
    x = split.reshape(count, height * down, width * across, channels).permute(0, 3, 1, 2)
    # A copy, or else the next layer would keep the padded map in memory for its backward pass.
    return x[..., : size[0], : size[1]].contiguous(memory_format=torch.channels_last)


def _convolve_depthwise(x: Tensor, kernel: Tensor, rates: Sequence[int]) -> Tensor:
    if kernel.shape[-2:] == (1, 1):  # of a depthwise convolution one factor for each channel is left
        return x * kernel[:, 0].to(x.dtype)
    three_in_a_phase = all(2 * rate < length for rate, length in zip(rates, x.shape[-2:], strict=True))
    if max(rates) == 1 or not three_in_a_phase:
        return _convolve(x, kernel, rates, x.shape[1])
    # The phases are a copy of the map: the backward pass recomputes it, as keeping it would cost
    # memory.
    out: Tensor = checkpoint(convolve_phases, x, kernel, rates, use_reentrant=False, preserve_rng_state=False)
    return out


def _convolve(x: Tensor, kernel: Tensor, rates: Sequence[int], groups: int) -> Tensor:
    padding = [rate * (taps // 2) for rate, taps in zip(rates, kernel.shape[-2:], strict=True)]
    return F.conv2d(x, kernel, None, 1, padding, list(rates), groups)
