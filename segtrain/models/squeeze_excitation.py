"""Squeeze-and-excitation blocks (Hu et al. 2018) whose backward pass goes over the map once less, on CPUs."""

from typing import Any, TypeVar

import torch
from timm.layers.squeeze_excite import SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

Block = TypeVar("Block", bound=nn.Module)


def share_means(model: nn.Module) -> int:
    """Make timm's squeeze-and-excitation blocks train with `_MapAndMean`; return how many.

    A map gets gradients from its weighing and from its mean. torch writes the second as a map of its own, in another
    memory layout, and adds it: on CPUs that takes as long as all the rest of the block. Gradients are the same bit by
    bit; weights and ``state_dict`` stay, and inference does what it did.
    """
    found = [
        module for module in model.modules() if type(module) in _SHARED and not getattr(module, "add_maxpool", False)
    ]
    for block in found:
        block.__class__ = _SHARED[type(block)]  # parameters stay the same objects, which an optimizer may hold already
    return len(found)


class SharedSqueezeExcite(SqueezeExcite):
    """The block of EfficientNet and MobileNetV3."""

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``(N, C, H, W)``."""
        x, mean = _map_and_mean(x)
        weights: Tensor = self.gate(self.conv_expand(self.act1(self.conv_reduce(mean))))
        return x * weights


class SharedSEModule(SEModule):
    """The block of RegNet, SE-ResNet and others."""

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``(N, C, H, W)``."""
        x, mean = _map_and_mean(x)
        weights: Tensor = self.gate(self.fc2(self.act(self.bn(self.fc1(mean)))))
        return x * weights


_SHARED: dict[type[nn.Module], type[nn.Module]] = {SqueezeExcite: SharedSqueezeExcite, SEModule: SharedSEModule}


def _map_and_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(N, C, H, W)`` and its means ``(N, C, 1, 1)``."""
    if not x.requires_grad:
        return x, x.mean((2, 3), keepdim=True)
    pair: tuple[Tensor, Tensor] = _MapAndMean.apply(x)
    return pair


class _MapAndMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.pixels = x.shape[2] * x.shape[3]
        return x.view_as(x), x.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, of_map: Tensor, of_mean: Tensor) -> Tensor:
        gradient: Tensor = of_map + of_mean / ctx.pixels
        return gradient
