"""U-Net++ (Zhou et al. 2018, https://arxiv.org/abs/1807.10165)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.models.contract import Decoder
from segtrain.models.decoders.steps import Steps
from segtrain.models.decoders.unet import UnetBlock
from segtrain.models.layers import Interpolation, Norm, initialize_he
from segtrain.models.upsampling import join


class UnetPlusPlus(Decoder):
    """U-Net with nested dense skip paths: convolution nodes between each encoder map and the decoder.

    A row holds the maps of one stride: the encoder's last, the decoder's first, the nodes in
    between. Each except the encoder's is computed from its counterpart in the coarser row,
    upsampled, and all maps behind it in its own row. ``channels`` are those of the first maps,
    coarsest row first; the nodes in between have as many as the encoder's map. A stride without an
    encoder map has the first one only. Raises ``ConfigError`` if there are fewer channels than the
    encoder asks for.

    segmentation_models_pytorch also stores ``center.*`` (VGG) and, with scSE,
    ``blocks.<last>.attention1.*``; it uses neither.
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
    ) -> None:
        super().__init__()
        self.steps = Steps.of(encoder_strides)
        channels = self.steps.finest(channels)

        self.blocks = nn.ModuleDict()
        coarser = [encoder_channels[-1]]  # channels of the row below, decoder's map first
        skips = self.steps.skip_channels(encoder_channels)
        for level, (stride, skip, front) in enumerate(zip(self.steps.strides, skips, channels, strict=True)):
            row = [skip] if skip else []
            for node in reversed(range(len(coarser) if skip else 1)):
                out_channels = skip if node else front
                # The names are those of segmentation_models_pytorch.
                self.blocks[f"x_{node}_{level}"] = UnetBlock(
                    coarser[node] + sum(row),
                    out_channels,
                    norm=norm,
                    attention=attention,
                    attend_input=stride > 1,
                    interpolation=interpolation,
                )
                row = [out_channels, *row]
            coarser = row
        self.out_channels = channels[-1]
        self.out_stride = 1
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the encoder's maps, finest first, into ``(N, out_channels, H, W)``."""
        coarser = [features[-1]]
        for level, (skip, size) in enumerate(self.steps.targets(features)):
            row = [] if skip is None else [skip]
            for node in reversed(range(len(coarser) if row else 1)):
                row = [self.blocks[f"x_{node}_{level}"](coarser[node], join(*row) if row else None, size), *row]
            coarser = row
        return coarser[0]
