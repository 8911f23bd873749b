"""SegFormer's all-MLP decoder (Xie et al. 2021, https://arxiv.org/abs/2105.15203)."""

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder
from segtrain.models.layers import ConvNormReLU, Norm, initialize_he, resize

_STRIDE = 4
_COARSEST = 8


class Segformer(Decoder):
    """Projects every map to ``channels``, resizes all to a quarter of the image's size and fuses them.

    Everything between an encoder's map and the normalisation is linear (section 3.2: a linear layer
    for each map, bilinear resizing, concatenation, a 1x1 convolution). So both layers of a map are
    applied as one, at the smaller of its two sizes, and the maps are summed instead of
    concatenated: the same result with a fraction of the work and memory. Raises ``ConfigError`` for
    an encoder whose maps are all finer than stride 8.
    """

    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 256,
        norm: Norm = "batch",
        dropout: Annotated[float, Range(low=0, high=1)] = 0.0,
    ) -> None:
        super().__init__()
        _check_depth(encoder_strides)
        # Without the image, which is map 0; coarsest first, as published weights number the stages.
        coarsest_first = list(zip(encoder_channels, encoder_strides, strict=True))[:0:-1]
        self.mlp_stage = nn.ModuleList(
            LinearStage(in_channels, channels, shrinks=stride < _STRIDE) for in_channels, stride in coarsest_first
        )
        self.fuse_stage = ConvNormReLU(channels * len(coarsest_first), channels, kernel_size=1, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = channels
        self.out_stride = _STRIDE
        initialize_he(self.fuse_stage)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into ``(N, out_channels, H / 4, W / 4)``."""
        height, width = features[0].shape[-2:]
        size = (-(-height // _STRIDE), -(-width // _STRIDE))
        conv, norm, relu = self.fuse_stage
        assert isinstance(conv, nn.Conv2d)
        # (channels, channels) for each map: its columns of the 1x1 convolution of the concatenation.
        shares = conv.weight.flatten(1).chunk(len(self.mlp_stage), dim=1)
        maps = [stage(x, share, size) for stage, x, share in zip(self.mlp_stage, features[:0:-1], shares, strict=True)]
        fused = sum(maps[1:], maps[0])
        if conv.bias is not None:
            fused = fused + conv.bias.view(-1, 1, 1)
        return self.dropout(relu(norm(fused)))  # type: ignore[no-any-return]


class LinearStage(nn.Module):
    """The linear layer of one map, applied together with its share of the convolution that fuses the maps.

    ``shrinks`` says that the map is finer than the result.
    """

    def __init__(self, in_channels: int, out_channels: int, *, shrinks: bool) -> None:
        super().__init__()
        self.shrinks = shrinks
        self.linear = nn.Linear(in_channels, out_channels)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, share: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring ``(N, C, h, w)`` to ``size``; ``share`` is ``(fused channels, out_channels)``."""
        # Both layers multiplied out: (fused channels, in_channels, 1, 1)
        weight = (share @ self.linear.weight)[..., None, None]
        bias = share @ self.linear.bias
        if self.shrinks:
            return F.conv2d(resize(x, size, mode="bilinear"), weight, bias)
        return resize(F.conv2d(x, weight, bias), size, mode="bilinear")


def _check_depth(encoder_strides: Sequence[int]) -> None:
    if max(encoder_strides) < _COARSEST:
        raise ConfigError(
            f"arch: segformer needs maps down to stride {_COARSEST} or coarser, this encoder gives strides "
            f"{list(encoder_strides)}; raise encoder.depth, for example encoder.depth=5"
        )
