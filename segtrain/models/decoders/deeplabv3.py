"""DeepLabV3 (Chen et al. 2017, https://arxiv.org/abs/1706.05587)."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from segtrain.config.signature import Range
from segtrain.models.contract import Decoder, Demands
from segtrain.models.decoders.aspp import ASPP, norm_relu
from segtrain.models.layers import initialize_he


class DeepLabV3(Decoder):
    """Atrous spatial pyramid pooling of the coarsest map of a dilated encoder, then a 3x3 convolution.

    ``atrous_rates`` are in pixels of that map; the paper doubles them where the output stride halves.
    """

    demands = Demands(output_stride=8, skips=())  # the default rates are the paper's for stride 8
    head_kernel_size = 1

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        *,
        channels: Annotated[int, Range(low=1)] = 256,
        atrous_rates: Sequence[Annotated[int, Range(low=1)]] = (12, 24, 36),
        separable: bool = False,
        dropout: Annotated[float, Range(low=0, high=1)] = 0.5,
    ) -> None:
        super().__init__()
        self.aspp = ASPP(
            encoder_channels[-1], channels, atrous_rates=atrous_rates, separable=separable, dropout=dropout
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn, self.relu = norm_relu(channels)
        self.out_channels = channels
        self.out_stride = encoder_strides[-1]
        initialize_he(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Refine the coarsest of the encoder's maps, ``(N, C, h, w) -> (N, out_channels, h, w)``."""
        return self.relu(self.bn(self.conv(self.aspp(features[-1]))))  # type: ignore[no-any-return]
