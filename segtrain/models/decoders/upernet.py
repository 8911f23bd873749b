"""UPerNet, unified perceptual parsing (Xiao et al. 2018, https://arxiv.org/abs/1807.10221)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder
from segtrain.models.layers import ConvNormReLU, GridPool, Norm, PooledBatchNorm2d, initialize_he, make_norm, resize

_FINEST_STRIDE = 4
_MIN_LEVELS = 2


class UPerNet(Decoder):
    """Pyramid pooling of the coarsest map and a top-down pyramid over the maps from stride 4 on, fused.

    Each map is first normalised over its channels. ``pool_sizes`` are the heights and widths of the
    pooled maps. Raises ``ConfigError`` for an encoder with fewer than two maps from stride 4 on.

    segmentation_models_pytorch keeps batch normalisation in ``psp.out_conv`` whatever its
    ``decoder_use_norm`` is.
    """

    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 256,
        norm: Norm = "batch",
        pool_sizes: Sequence[Annotated[int, Range(low=1)]] = (1, 2, 3, 6),
    ) -> None:
        super().__init__()
        strides = [stride for stride in encoder_strides if stride >= _FINEST_STRIDE]
        if len(strides) < _MIN_LEVELS:
            raise ConfigError(
                f"arch: upernet needs {_MIN_LEVELS} maps of stride {_FINEST_STRIDE} or more, this encoder gives "
                f"strides {list(encoder_strides)}; raise encoder.depth, for example encoder.depth=5"
            )
        self.levels = len(strides)
        maps = encoder_channels[-self.levels :]
        self.feature_norms = nn.ModuleList(make_norm("layer", width) for width in maps)
        self.psp = PyramidPooling(maps[-1], channels, pool_sizes=pool_sizes, norm=norm)
        self.fpn_lateral_blocks = nn.ModuleList(Lateral(width, channels, norm=norm) for width in reversed(maps[:-1]))
        self.fpn_conv_blocks = nn.ModuleList(ConvNormReLU(channels, channels, norm=norm) for _ in maps[:-1])
        self.fusion_block = ConvNormReLU(self.levels * channels, channels, norm=norm)
        self.out_channels = channels
        self.out_stride = strides[0]
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into one at ``out_stride``."""
        # Of strides 4, 8, 16 and 32 for an encoder of depth 5
        maps = [norm(x) for norm, x in zip(self.feature_norms, features[-self.levels :], strict=True)]
        level = self.psp(maps[-1])  # (N, channels, ...), as all levels of the pyramid
        pyramid = [level]
        for lateral, conv, x in zip(self.fpn_lateral_blocks, self.fpn_conv_blocks, reversed(maps[:-1]), strict=True):
            level = lateral(level, x)
            pyramid.insert(0, conv(level))
        finest = pyramid[0].shape[-2:]
        fused: Tensor = self.fusion_block(torch.cat([resize(x, finest, mode="bilinear") for x in pyramid], dim=1))
        return fused


class PyramidPooling(nn.Module):
    """Joins a map with its averages over grids of ``pool_sizes`` cells a side (Zhao et al. 2017)."""

    def __init__(self, in_channels: int, out_channels: int, *, pool_sizes: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(GridPool(size), _pooled_conv(in_channels, out_channels, size, norm)) for size in pool_sizes
        )
        self.out_conv = ConvNormReLU(in_channels + len(pool_sizes) * out_channels, out_channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of the map."""
        pooled = [F.interpolate(block(x), x.shape[-2:], mode="bilinear") for block in self.blocks]
        return self.out_conv(torch.cat([x, *pooled], dim=1))  # type: ignore[no-any-return]


class Lateral(nn.Module):
    """One step down the pyramid: the coarser level, upsampled, plus the encoder's map through a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_norm_relu = ConvNormReLU(in_channels, out_channels, kernel_size=1, norm=norm)

    def forward(self, coarser: Tensor, x: Tensor) -> Tensor:
        """Return a level of the size of ``x``."""
        level: Tensor = resize(coarser, x.shape[-2:], mode="bilinear") + self.conv_norm_relu(x)
        return level


def _pooled_conv(in_channels: int, out_channels: int, size: int, norm: Norm) -> ConvNormReLU:
    """Build the convolution of a pooled map; a single pixel has no statistics for instance or group norm."""
    no_statistics = size == 1 and norm in {"instance", "group"}
    conv = ConvNormReLU(in_channels, out_channels, kernel_size=1, norm="none" if no_statistics else norm)
    if norm == "batch":
        conv[1] = PooledBatchNorm2d(out_channels)
    return conv
