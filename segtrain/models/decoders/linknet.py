"""LinkNet (Chaurasia and Culurciello 2017, https://arxiv.org/abs/1707.03718)."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.models.contract import Decoder
from segtrain.models.decoders.steps import Steps
from segtrain.models.layers import ConvNormReLU, Norm, initialize_he, make_norm, resize

_BOTTLENECK = 4  # the channels inside a block are a quarter of those that come in


class Linknet(Decoder):
    """Upsamples by bottleneck blocks down to stride 1, adding the encoder's map of each stride.

    Where there is no such map, a block keeps the number of channels; the last one has
    ``final_channels``.
    """

    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        final_channels: Annotated[int, Range(low=1)] = 32,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.steps = Steps.of(encoder_strides)
        self.blocks = nn.ModuleList()
        in_channels = encoder_channels[-1]
        for stride, skip in zip(self.steps.strides, self.steps.skip_channels(encoder_channels), strict=True):
            out_channels = final_channels if stride == 1 else skip or in_channels
            self.blocks.append(LinknetBlock(in_channels, out_channels, norm=norm))
            in_channels = out_channels
        self.out_channels = final_channels
        self.out_stride = 1
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into ``(N, out_channels, H, W)``."""
        x = features[-1]
        for block, (skip, size) in zip(self.blocks, self.steps.targets(features), strict=True):
            x = block(x, skip, size)
        return x


class LinknetBlock(nn.Module):
    """Doubles a map's size by a transposed convolution on a quarter of its channels, then adds the skip."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        narrow = max(1, in_channels // _BOTTLENECK)
        self.block = nn.Sequential(
            ConvNormReLU(in_channels, narrow, kernel_size=1, norm=norm),
            nn.Sequential(
                nn.ConvTranspose2d(narrow, narrow, kernel_size=4, stride=2, padding=1),
                make_norm(norm, narrow),
                nn.ReLU(inplace=True),
            ),
            ConvNormReLU(narrow, out_channels, kernel_size=1, norm=norm),
        )

    def forward(self, x: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        """Go from a coarser map to ``(N, out_channels, *size)``; ``skip`` has that size."""
        x = resize(self.block(x), size)  # a skip of odd size is one pixel smaller than the doubled map
        return x if skip is None else x + skip
