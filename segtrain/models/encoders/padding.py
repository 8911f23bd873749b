"""Padding for networks made for one image size, so that their strides are exact at any size."""

from typing import TypeVar

from torch import nn

_VALID = frozenset({"inception_resnet_v2", "inception_v4", "legacy_xception", "nasnetalarge", "pnasnet5large"})
"""timm's networks whose convolutions and poolings without padding make maps smaller than image / stride."""

Model = TypeVar("Model", bound=nn.Module)


def with_exact_strides(model: Model, arch: str) -> Model:
    """Pad every layer without padding, in place, if ``arch`` is one of timm's networks with too small maps."""
    if arch in _VALID:
        for layer in model.modules():
            _pad(layer)
    return model


def _pad(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str):
        height, width = layer.kernel_size
        layer.padding = (layer.padding[0] or height // 2, layer.padding[1] or width // 2)
    elif isinstance(layer, nn.MaxPool2d) and layer.padding == 0 and isinstance(layer.kernel_size, int):
        layer.padding = layer.kernel_size // 2
