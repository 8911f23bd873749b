"""Dense prediction transformer (Ranftl et al. 2021, https://arxiv.org/abs/2103.13413)."""

import logging
import math
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Demands
from segtrain.models.layers import ConvNormReLU, Norm, PooledBatchNorm2d, initialize_he, make_norm

logger = logging.getLogger(__name__)

Readout: TypeAlias = Literal["cat", "add", "ignore"]

_FINEST = 4
_OUT_STRIDE = 2


class DPT(Decoder):
    """Reassembles a transformer's maps at strides 4, 8, 16 and 32, and fuses them from coarse to fine, up to stride 2.

    ``readout`` is the use of the prefix tokens that come with each map: ``cat`` concatenates the
    class token to each pixel and projects them, ``add`` adds the mean of the tokens, ``ignore``
    drops them, as happens for an encoder without them. ``intermediate_channels`` are those of the
    maps, finest first; an encoder of fewer maps takes the first ones. Patches may have any size: 14
    pixels count as 16 until the last upsampling, which corrects for it. Raises ``ConfigError`` for
    an unknown ``readout`` and for more maps than ``intermediate_channels``.
    """

    demands = Demands(depth=4, layout="tokens")
    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        encoder_prefix_tokens: int = 0,
        *,
        readout: Readout = "cat",
        intermediate_channels: Sequence[Annotated[int, Range(low=1)]] = (256, 512, 1024, 1024),
        fusion_channels: Annotated[int, Range(low=1)] = 256,
        norm: Norm = "batch",
        dropout: Annotated[float, Range(low=0, high=1)] = 0.1,
    ) -> None:
        super().__init__()
        channels, strides = encoder_channels[1:], encoder_strides[1:]
        _check_options(readout, intermediate_channels, strides)
        if readout != "ignore" and not encoder_prefix_tokens:
            logger.info("arch.readout: %s does nothing, as this encoder has no class token", readout)
            readout = "ignore"
        self.projection_blocks = nn.ModuleList(_READOUTS[readout](width) for width in channels)
        self.reassemble_blocks = nn.ModuleList(
            Reassemble(width, intermediate, fusion_channels, scale=_nominal(stride) / (_FINEST * 2**i))
            for i, (width, intermediate, stride) in enumerate(
                zip(channels, intermediate_channels, strides, strict=False)
            )
        )
        self.fusion_blocks = nn.ModuleList(Fusion(fusion_channels, norm=norm) for _ in channels)
        self.head = nn.Sequential(*ConvNormReLU(fusion_channels, fusion_channels, norm=norm), nn.Dropout(dropout))
        self.out_channels = fusion_channels
        self.out_stride = _OUT_STRIDE
        _initialize(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the image, its maps and their prefix tokens into ``(N, out_channels, H / 2, W / 2)``."""
        height, width = features[0].shape[-2:]
        count = len(self.reassemble_blocks)
        maps = features[1 : count + 1]  # all (N, C, H / patch, W / patch)
        tokens: Sequence[Tensor | None] = features[count + 1 :] or [None] * count
        read = [readout(x, prefix) for readout, x, prefix in zip(self.projection_blocks, maps, tokens, strict=True)]
        # (N, fusion_channels, H/4, W/4), then H/8, H/16 and H/32, if patches have 16 pixels
        levels = [reassemble(x) for reassemble, x in zip(self.reassemble_blocks, read, strict=True)]

        # Each fusion upsamples to the next finer level, and the last one to stride 2.
        sizes = [(-(-height // _OUT_STRIDE), -(-width // _OUT_STRIDE)), *(level.shape[-2:] for level in levels[:-1])]
        fused: Tensor | None = None
        for fuse, level, size in zip(self.fusion_blocks, levels[::-1], sizes[::-1], strict=True):
            fused = fuse(level, fused, size)
        return self.head(fused)  # type: ignore[no-any-return]


class IgnoreReadout(nn.Module):
    """Leaves the map as it is."""

    def __init__(self, channels: int) -> None:  # noqa: ARG002 - all three are built alike
        super().__init__()

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the map ``(N, C, h, w)``."""
        return x


class AddReadout(IgnoreReadout):
    """Adds the mean of the prefix tokens to every pixel; the paper has one token (section 3.1)."""

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        """Join a map ``(N, C, h, w)`` and tokens ``(N, prefix_tokens, C)``."""
        assert tokens is not None
        return x + tokens.mean(1)[..., None, None]  # (N, C, 1, 1)


class CatReadout(nn.Module):
    """Projects every pixel together with the class token to the channels of the map (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU())

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        """Join a map ``(N, C, h, w)`` and tokens ``(N, prefix_tokens, C)``, of which the first is the class token."""
        assert tokens is not None
        linear, activation = self.project
        assert isinstance(linear, nn.Linear)
        # A linear layer of a concatenation is the sum of two, and that of the class token is the
        # same at every pixel.
        of_pixel, of_token = linear.weight.chunk(2, dim=1)
        class_token = tokens[:, 0].clone()  # a view would keep all tokens in memory for the backward pass
        token = F.linear(class_token, of_token, linear.bias)
        return activation(F.conv2d(x, of_pixel[..., None, None]) + token[..., None, None])  # type: ignore[no-any-return]


_READOUTS: dict[str, type[nn.Module]] = {"cat": CatReadout, "add": AddReadout, "ignore": IgnoreReadout}


class Reassemble(nn.Module):
    """Resamples a map to its level of the pyramid: ``scale`` times the size, a power of two (section 3.1)."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, scale: float) -> None:
        super().__init__()
        self.project_to_out_channel = nn.Conv2d(in_channels, channels, 1)
        self.upsample: nn.Module = nn.Identity()
        if scale > 1:
            self.upsample = nn.ConvTranspose2d(channels, channels, int(scale), stride=int(scale))
        elif scale < 1:
            self.upsample = nn.Conv2d(channels, channels, 3, stride=int(1 / scale), padding=1)
        self.project_to_feature_dim = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(N, C, h, w)`` into ``(N, out_channels, scale * h, scale * w)``, rounded up."""
        return self.project_to_feature_dim(self.upsample(self.project_to_out_channel(x)))  # type: ignore[no-any-return]


class Fusion(nn.Module):
    """Adds the coarser level, refines and upsamples (RefineNet, Lin et al. 2017, as in figure 1)."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.residual_conv_block1 = ResidualUnit(channels, norm=norm)
        self.residual_conv_block2 = ResidualUnit(channels, norm=norm)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, level: Tensor, coarser: Tensor | None, size: Sequence[int]) -> Tensor:
        """Return ``(N, C, *size)``; ``level`` and ``coarser`` have one shape, ``coarser`` is None at the coarsest."""
        x = self.residual_conv_block1(level)
        if coarser is not None:
            x = x + coarser
        # The projection is the last layer of the paper's block; before the upsampling it does the same on fewer pixels.
        x = self.project(self.residual_conv_block2(x))
        return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two pre-activated convolutions around a shortcut (He et al. 2016, https://arxiv.org/abs/1603.05027)."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1, bias=norm == "none")
        self.norm_1 = _make_norm(norm, channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1, bias=norm == "none")
        self.norm_2 = _make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        # Not in place: the shortcut needs x as it is.
        residual = self.norm_1(self.conv_1(x.relu()))
        residual = self.norm_2(self.conv_2(residual.relu()))
        refined: Tensor = x + residual
        return refined


def _nominal(stride: int) -> int:
    """Return the nearest power of two: 16 for patches of 14 pixels."""
    return 1 << round(math.log2(stride))


def _make_norm(norm: Norm, channels: int) -> nn.Module:
    # A level of stride 32 has a single pixel when the image has sides of 32.
    return PooledBatchNorm2d(channels) if norm == "batch" else make_norm(norm, channels)


def _initialize(decoder: DPT) -> None:
    initialize_he(decoder)
    for layer in decoder.projection_blocks.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def _check_options(readout: str, intermediate_channels: Sequence[int], strides: Sequence[int]) -> None:
    if readout not in _READOUTS:
        raise ConfigError(f"arch.readout: unknown choice {readout!r}, expected one of {', '.join(_READOUTS)}")
    numbers, maps = len(intermediate_channels), len(strides)
    if numbers < maps:
        fitting = ",".join(str(min(256 * 2**i, 1024)) for i in range(maps))
        raise ConfigError(
            f"arch.intermediate_channels: got {numbers} numbers, expected one for each of the encoder's {maps} maps; "
            f"for example 'arch.intermediate_channels=[{fitting}]', or encoder.depth={max(1, numbers)}"
        )
