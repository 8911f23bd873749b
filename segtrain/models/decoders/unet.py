"""U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.models.contract import Decoder
from segtrain.models.decoders.steps import Steps
from segtrain.models.layers import ConvNormReLU, Interpolation, Norm, SpatialChannelAttention, initialize_he, resize
from segtrain.models.upsampling import convolve_joined, join


class Unet(Decoder):
    """Upsamples step by step to stride 1, concatenating the encoder's map of each stride where there is one.

    ``channels`` are those of the steps, coarsest first; ``center`` adds two convolutions before the
    first of them. Raises ``ConfigError`` if there are fewer than the encoder asks for.
    """

    head_kernel_size = 3

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Sequence[Annotated[int, Range(low=1)]] = (256, 128, 64, 32, 16),
        norm: Norm = "batch",
        attention: Literal["scse"] | None = None,
        interpolation: Interpolation = "nearest",
        center: bool = False,
    ) -> None:
        super().__init__()
        self.steps = Steps.of(encoder_strides)
        channels = self.steps.finest(channels)
        deepest = encoder_channels[-1]
        self.center = nn.Sequential(*(ConvNormReLU(deepest, deepest, norm=norm) for _ in range(2 if center else 0)))
        self.blocks = nn.ModuleList(
            UnetBlock(
                in_channels + skip_channels,
                out_channels,
                norm=norm,
                attention=attention,
                attend_input=stride > 1,
                interpolation=interpolation,
            )
            for in_channels, skip_channels, out_channels, stride in zip(
                (deepest, *channels[:-1]),
                self.steps.skip_channels(encoder_channels),
                channels,
                self.steps.strides,
                strict=True,
            )
        )
        self.out_channels = channels[-1]
        self.out_stride = 1
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into ``(N, out_channels, H, W)``."""
        x: Tensor = self.center(features[-1])
        for block, (skip, size) in zip(self.blocks, self.steps.targets(features), strict=True):
            x = block(x, skip, size)
        return x


class UnetBlock(nn.Module):
    """Upsamples, concatenates the skip, and convolves twice; optionally with attention on input and output."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: Norm,
        attention: Literal["scse"] | None,
        attend_input: bool,
        interpolation: Interpolation,
    ) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.attention1 = _make_attention(attention if attend_input else None, in_channels)
        self.conv1 = ConvNormReLU(in_channels, out_channels, norm=norm)
        self.conv2 = ConvNormReLU(out_channels, out_channels, norm=norm)
        self.attention2 = _make_attention(attention, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        """Go from a coarser map to ``(N, out_channels, *size)``; ``skip`` has that size."""
        if len(self.attention1):
            x = self.conv1(self.attention1(join(resize(x, size, mode=self.interpolation), skip)))
        else:
            x = self.conv1.norm_relu(convolve_joined(self.conv1.conv, x, skip, size, mode=self.interpolation))
        return self.attention2(self.conv2(x))  # type: ignore[no-any-return]


def _make_attention(attention: Literal["scse"] | None, channels: int) -> nn.Sequential:
    block = nn.Sequential()  # empty it is the identity; the nesting is that of published weights
    if attention == "scse":
        block.add_module("attention", SpatialChannelAttention(channels))
    return block
