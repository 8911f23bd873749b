"""DeepLabV3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Demands
from segtrain.models.decoders.aspp import ASPP, SeparableConv2d, norm_relu
from segtrain.models.layers import initialize_he

_SKIP_STRIDE = 4


class DeepLabV3Plus(Decoder):
    """Atrous spatial pyramid pooling of the coarsest map, fused with the encoder's low-level map of stride 4.

    ``atrous_rates`` are in pixels of the coarsest map; ``skip_channels`` are those that the map of
    stride 4 is reduced to. Raises ``ConfigError`` for an encoder without a map of stride 4, or
    without a coarser one.
    """

    demands = Demands(output_stride=16, skips=(_SKIP_STRIDE,))
    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 256,
        skip_channels: Annotated[int, Range(low=1)] = 48,
        atrous_rates: Sequence[Annotated[int, Range(low=1)]] = (12, 24, 36),
        separable: bool = True,
        dropout: Annotated[float, Range(low=0, high=1)] = 0.5,
    ) -> None:
        super().__init__()
        self.skip = _find_skip(encoder_strides)
        self.aspp = nn.Sequential(
            ASPP(encoder_channels[-1], channels, atrous_rates=atrous_rates, separable=separable, dropout=dropout),
            SeparableConv2d(channels, channels),
            *norm_relu(channels),
        )
        self.block1 = nn.Sequential(
            nn.Conv2d(encoder_channels[self.skip], skip_channels, 1, bias=False), *norm_relu(skip_channels)
        )
        self.block2 = nn.Sequential(SeparableConv2d(channels + skip_channels, channels), *norm_relu(channels))
        self.out_channels = channels
        self.out_stride = _SKIP_STRIDE
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the coarsest of the encoder's maps and the one of stride 4."""
        fine = self.block1(features[self.skip])  # (N, skip_channels, H/4, W/4)
        context = F.interpolate(self.aspp(features[-1]), fine.shape[-2:], mode="bilinear", align_corners=True)
        # (N, channels + skip_channels, H/4, W/4) to (N, channels, H/4, W/4)
        return self.block2(torch.cat([context, fine], dim=1))  # type: ignore[no-any-return]


def _find_skip(encoder_strides: Sequence[int]) -> int:
    strides = list(encoder_strides)
    if _SKIP_STRIDE not in strides:
        problem = "needs a map of stride 4"
        remedy = "take another encoder, for example encoder=resnet34, or arch=deeplabv3"
    elif strides[-1] == _SKIP_STRIDE:
        problem = "needs a map coarser than stride 4"
        remedy = "raise encoder.depth, for example encoder.depth=5"
    else:
        return strides.index(_SKIP_STRIDE)
    raise ConfigError(f"arch: deeplabv3plus {problem}, this encoder gives strides {strides}; {remedy}")
