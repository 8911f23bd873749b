"""Padding for networks made for one image size, so that their strides are exact at any size."""

from typing import TypeVar

import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

_VALID = frozenset({"inception_resnet_v2", "inception_v4", "legacy_xception", "nasnetalarge", "pnasnet5large"})
"""timm's networks whose convolutions and poolings without padding make maps smaller than image / stride."""

Model = TypeVar("Model", bound=nn.Module)


def with_exact_strides(model: Model, arch: str) -> Model:
    """Pad every layer without padding, in place, if ``arch`` is one of timm's networks with too small maps."""
    if pads(arch):
        for layer in model.modules():
            _pad(layer)
    return model


def pads(arch: str) -> bool:
    """Tell whether a network of timm's is one that `with_exact_strides` changes."""
    return arch in _VALID


def _pad(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str):
        height, width = layer.kernel_size
        layer.padding = (layer.padding[0] or height // 2, layer.padding[1] or width // 2)
    elif isinstance(layer, nn.MaxPool2d) and layer.padding == 0 and isinstance(layer.kernel_size, int):
        layer.padding = layer.kernel_size // 2


class FixedSame(Conv2dSame):
    """TensorFlow's "same" convolution of a map whose sides are multiples of the stride: its padding is constant."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad by what the stride leaves over, the larger part below and to the right, and convolve."""
        sizes = zip(self.kernel_size, self.dilation, self.stride, strict=True)
        rows, columns = (max(0, (kernel - 1) * dilation + 1 - stride) for kernel, dilation, stride in sizes)
        padded = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_same_padding(model: nn.Module) -> None:
    """Make the padding of timm's "same" convolutions constant, in place, for a model whose images are whole multiples.

    timm computes it from the map's size. In a graph for any size that is an expression that grows with the depth:
    tracing an EfficientNet of TensorFlow's took minutes.
    """
    for layer in model.modules():
        if type(layer) is Conv2dSame:
            layer.__class__ = FixedSame
