"""Paddings that make strides exact: of networks made for one image size, as encoders for all."""

from torch import nn

VALID = frozenset({"inception_resnet_v2", "inception_v4", "legacy_xception", "nasnetalarge", "pnasnet5large"})
"""timm's networks that lose a border to convolutions and poolings without padding; with ``pad_valid`` they do not."""


def pad_valid(model: nn.Module) -> None:
    """Pad every convolution and pooling that has none, so that a map is exactly as many times smaller as its stride."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str):
            height, width = layer.kernel_size
            layer.padding = (layer.padding[0] or height // 2, layer.padding[1] or width // 2)
        elif isinstance(layer, nn.MaxPool2d) and layer.padding == 0 and isinstance(layer.kernel_size, int):
            layer.padding = layer.kernel_size // 2
