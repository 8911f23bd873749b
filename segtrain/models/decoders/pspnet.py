"""Pyramid scene parsing network (Zhao et al. 2017, https://arxiv.org/abs/1612.01105)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Demands
from segtrain.models.layers import ConvNormReLU, GridPool, Norm, initialize_he


class PSPNet(Decoder):
    """Pyramid pooling of the coarsest map: averages over grids of ``pool_sizes`` cells a side, joined with the map.

    ``channels`` are those of the result; the channels of all grids together are as many as the map
    has. Raises ``ConfigError`` for more grids than that.
    """

    demands = Demands(depth=3, skips=())  # a map of stride 8, which the paper reaches by dilation
    head_kernel_size = 3

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 512,
        pool_sizes: Sequence[Annotated[int, Range(low=1)]] = (1, 2, 3, 6),
        norm: Norm = "batch",
        dropout: Annotated[float, Range(low=0, high=1)] = 0.2,
    ) -> None:
        super().__init__()
        self.psp = PyramidPooling(encoder_channels[-1], pool_sizes=pool_sizes, norm=norm)
        self.conv = ConvNormReLU(self.psp.out_channels, channels, kernel_size=1, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = channels
        self.out_stride = encoder_strides[-1]
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Refine the coarsest of the encoder's maps, ``(N, C, h, w) -> (N, out_channels, h, w)``."""
        return self.dropout(self.conv(self.psp(features[-1])))  # type: ignore[no-any-return]


class PyramidPooling(nn.Module):
    """Appends to a map its averages over several grids: ``(N, C, H, W) -> (N, out_channels, H, W)``."""

    def __init__(self, in_channels: int, *, pool_sizes: Sequence[int], norm: Norm) -> None:
        super().__init__()
        if not 0 < len(pool_sizes) <= in_channels:
            raise ConfigError(
                f"arch.pool_sizes: {len(pool_sizes)} grids cannot share the {in_channels} channels of the map; "
                "for example 'arch.pool_sizes=[1,2,3,6]'"
            )
        share = in_channels // len(pool_sizes)
        self.blocks = nn.ModuleList(GridAverage(in_channels, share, cells=cells, norm=norm) for cells in pool_sizes)
        self.out_channels = in_channels + share * len(pool_sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the averages and the map; this order is that of published weights."""
        return torch.cat([*(block(x) for block in self.blocks), x], dim=1)


class GridAverage(nn.Module):
    """Average pooling of a map to ``cells`` x ``cells``, a 1x1 convolution, and upsampling to the map's size.

    A single cell is not normalised, as one image has no statistics there. A map may be smaller than
    the grid.
    """

    def __init__(self, in_channels: int, out_channels: int, *, cells: int, norm: Norm) -> None:
        super().__init__()
        conv = ConvNormReLU(in_channels, out_channels, kernel_size=1, norm="none" if cells == 1 else norm)
        self.pool = nn.Sequential(GridPool(cells), conv)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of the map."""
        return F.interpolate(self.pool(x), x.shape[-2:], mode="bilinear", align_corners=True)
