"""Segmentation heads, auxiliary heads for deep supervision, and classification heads for whole images."""

from typing import Annotated, Literal, TypeAlias

import torch
from torch import nn

from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.models.layers import ConvNormReLU, initialize_he
from segtrain.suggest import did_you_mean

Activation: TypeAlias = Literal["sigmoid", "softmax"]


class SegmentationHead(nn.Sequential):
    """Predicts ``out_channels`` maps with one convolution and upsamples them bilinearly by ``upsampling``.

    Upsampling aligns corners. The output is raw logits unless an activation is given. Raises
    ``ConfigError`` for an unknown activation, and for a softmax over one channel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        upsampling: int = 1,
        activation: Activation | None = None,
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        nn.init.xavier_uniform_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        upsample = nn.Upsample(scale_factor=upsampling, mode="bilinear", align_corners=True)
        last = make_activation(activation, out_channels)
        super().__init__(conv, upsample if upsampling > 1 else nn.Identity(), last)

    @torch.no_grad()
    def cool(self, temperature: float) -> None:
        """Fold a temperature into the convolution: logits are divided by it (Guo et al. 2017, section 4.2)."""
        # Bilinear upsampling is linear, so this divides what comes after it, too.
        for parameter in self[0].parameters():
            parameter.div_(temperature)


class AuxiliaryHead(nn.Sequential):
    """Predicts ``out_channels`` maps from one of the encoder's, at its resolution, for deep supervision.

    The fully convolutional head of Zhao et al. 2017 (https://arxiv.org/abs/1612.01105, section
    3.3): a 3x3 convolution to a quarter of the channels, dropout of whole channels, and a 1x1
    convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float = 0.1) -> None:
        hidden = max(1, in_channels // 4)
        conv = ConvNormReLU(in_channels, hidden)
        super().__init__(conv, nn.Dropout2d(dropout), nn.Conv2d(hidden, out_channels, 1))
        initialize_he(self)


class ClassificationHead(nn.Sequential):
    """Predicts ``num_classes`` logits ``(N, num_classes)`` of the whole image from a map ``(N, in_channels, H, W)``."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        pooling: Literal["avg", "max"] = "avg",
        dropout: Annotated[float, Range(low=0, high=1)] = 0.2,
    ) -> None:
        pool = nn.AdaptiveMaxPool2d(1) if pooling == "max" else nn.AdaptiveAvgPool2d(1)
        linear = nn.Linear(in_channels, num_classes)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        super().__init__(pool, nn.Flatten(), nn.Dropout(dropout), linear)


def make_activation(activation: Activation | None, channels: int) -> nn.Module:
    """Build the layer that turns logits ``(N, channels, H, W)`` into probabilities; the identity for ``None``.

    Raises ``ConfigError`` for an unknown activation, and for the softmax of a single channel.
    """
    known: dict[str | None, nn.Module] = {None: nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=1)}
    if not isinstance(activation, str | None) or activation not in known:
        hint = did_you_mean(str(activation), ["sigmoid", "softmax"])
        raise ConfigError(f"activation: expected None, sigmoid or softmax, got {activation!r}{hint}")
    if activation == "softmax" and channels == 1:
        raise ConfigError("activation: the softmax of a single channel is 1 everywhere; take activation=sigmoid")
    return known[activation]
