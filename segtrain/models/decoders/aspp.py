"""Atrous spatial pyramid pooling (ASPP) of DeepLabV3 and DeepLabV3+ (Chen et al. 2017, section 3.3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.models.decoders.atrous import AtrousConv2d
from segtrain.models.layers import PooledBatchNorm2d


class ASPP(nn.Module):
    """Parallel convolutions at several atrous rates, and the map's mean: ``(N, C, H, W) -> (N, out_channels, H, W)``.

    The branches are a 1x1 convolution, a 3x3 convolution for each rate, and global average pooling.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, atrous_rates: Sequence[int], separable: bool, dropout: float
    ) -> None:
        super().__init__()
        conv3x3 = SeparableConv2d if separable else AtrousConv2d
        self.convs = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), *norm_relu(out_channels)),
                *(
                    nn.Sequential(conv3x3(in_channels, out_channels, rate=rate), *norm_relu(out_channels))
                    for rate in atrous_rates
                ),
                nn.Sequential(
                    nn.AdaptiveAvgPool2d(1),
                    nn.Conv2d(in_channels, out_channels, 1, bias=False),
                    PooledBatchNorm2d(out_channels),
                    nn.ReLU(inplace=True),
                ),
            ]
        )
        self.project = nn.Sequential(
            nn.Conv2d(len(self.convs) * out_channels, out_channels, 1, bias=False),
            *norm_relu(out_channels),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the branches and project them to ``out_channels``."""
        # (N, out_channels, H, W) each, and (N, out_channels, 1, 1)
        *dense, pooled = (conv(x) for conv in self.convs)
        # The pooled branch is the same at every pixel: projecting it separately, as 1x1, saves a
        # fifth of the work.
        weight, width = self.project.get_parameter("0.weight"), pooled.shape[1]
        x = F.conv2d(torch.cat(dense, dim=1), weight[:, :-width]) + F.conv2d(pooled, weight[:, -width:])
        for layer in self.project[1:]:
            x = layer(x)
        return x


class SeparableConv2d(nn.Sequential):
    """A 3x3 convolution within each channel, then a 1x1 convolution across them."""

    def __init__(self, in_channels: int, out_channels: int, *, rate: int = 1) -> None:
        super().__init__(
            AtrousConv2d(in_channels, in_channels, rate=rate, groups=in_channels),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )


def norm_relu(channels: int) -> list[nn.Module]:
    """Build the layers behind every convolution of the DeepLab family."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
