"""MA-Net, multi-scale attention (Fan et al. 2020, https://doi.org/10.1109/ACCESS.2020.3025372)."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.models.contract import Decoder
from segtrain.models.decoders.steps import Steps
from segtrain.models.decoders.unet import UnetBlock
from segtrain.models.layers import ConvNormReLU, Interpolation, Norm, initialize_he, resize
from segtrain.models.upsampling import convolve_joined


class MAnet(Decoder):
    """U-Net with position attention on the coarsest map, and channel attention where skips are joined.

    ``channels`` are those of the steps, coarsest first. ``pab_channels`` is the length of the
    queries and keys of the position-wise attention; ``reduction`` divides the channels inside the
    channel attention. Raises ``ConfigError`` if there are fewer channels than the encoder asks for.
    """

    head_kernel_size = 3

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Sequence[Annotated[int, Range(low=1)]] = (256, 128, 64, 32, 16),
        norm: Norm = "batch",
        interpolation: Interpolation = "nearest",
        pab_channels: Annotated[int, Range(low=1)] = 64,
        reduction: Annotated[int, Range(low=1)] = 16,
    ) -> None:
        super().__init__()
        self.steps = Steps.of(encoder_strides)
        channels = self.steps.finest(channels)
        skips = self.steps.skip_channels(encoder_channels)
        self.center = PositionAttention(encoder_channels[-1], pab_channels)
        self.blocks = nn.ModuleList()
        for before, skip, after in zip((encoder_channels[-1], *channels[:-1]), skips, channels, strict=True):
            if skip:
                block: nn.Module = FusionBlock(
                    before, skip, after, norm=norm, interpolation=interpolation, reduction=reduction
                )
            else:
                block = UnetBlock(
                    before, after, norm=norm, attention=None, attend_input=False, interpolation=interpolation
                )
            self.blocks.append(block)
        self.out_channels = channels[-1]
        self.out_stride = 1
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into ``(N, out_channels, H, W)``."""
        x: Tensor = self.center(features[-1])
        for block, (skip, size) in zip(self.blocks, self.steps.targets(features), strict=True):
            x = block(x, skip, size)
        return x


class PositionAttention(nn.Module):
    """Self-attention over all pixels, with a shortcut (position-wise attention block, PAB)."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.top_conv = nn.Conv2d(channels, key_channels, kernel_size=1)
        self.center_conv = nn.Conv2d(channels, key_channels, kernel_size=1)
        self.bottom_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.out_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(N, C, H, W)``."""
        keys = self.top_conv(x).flatten(2)  # (N, K, HW)
        queries = self.center_conv(x).flatten(2).transpose(1, 2)  # (N, HW, K)
        values = self.bottom_conv(x).flatten(2).transpose(1, 2)  # (N, HW, C)
        scores = queries @ keys  # (N, HW, HW): quadratic in the pixels of the coarsest map
        # One softmax over all pairs of pixels, and a result (N, HW, C) that is read as (N, C, H, W) without a
        # transposition: odd for an attention, but what published weights were trained with.
        attention = scores.flatten(1).softmax(dim=1).view_as(scores)
        attended: Tensor = self.out_conv(x + (attention @ values).reshape(x.shape))
        return attended


class FusionBlock(nn.Module):
    """Channel attention from both maps on the coarser one, which joins the skip (multi-scale fusion, MFAB)."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        norm: Norm,
        interpolation: Interpolation,
        reduction: int,
    ) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.hl_conv = nn.Sequential(
            ConvNormReLU(in_channels, in_channels, norm=norm),
            ConvNormReLU(in_channels, skip_channels, kernel_size=1, norm=norm),
        )
        self.SE_ll = _squeeze_and_excite(skip_channels, reduction)
        self.SE_hl = _squeeze_and_excite(skip_channels, reduction)
        self.conv1 = ConvNormReLU(2 * skip_channels, out_channels, norm=norm)
        self.conv2 = ConvNormReLU(out_channels, out_channels, norm=norm)

    def forward(self, x: Tensor, skip: Tensor, size: Sequence[int]) -> Tensor:
        """Go from a coarser map to ``(N, out_channels, *size)``; ``skip`` has that size."""
        x = self.hl_conv(x)
        # Weighing before upsampling takes a quarter of the pixels. The means stay, except at a
        # bicubic rim.
        averaged = resize(x, size, mode="bicubic") if self.interpolation == "bicubic" else x
        x = x * (self.SE_hl(averaged) + self.SE_ll(skip))
        x = self.conv1.norm_relu(convolve_joined(self.conv1.conv, x, skip, size, mode=self.interpolation))
        return self.conv2(x)  # type: ignore[no-any-return]


def _squeeze_and_excite(channels: int, reduction: int) -> nn.Sequential:
    """Build the weights ``(N, channels, 1, 1)`` of a map's channels (Hu et al. 2018)."""
    squeezed = max(1, channels // reduction)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, squeezed, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(squeezed, channels, 1),
        nn.Sigmoid(),
    )
