"""Dilation of whole stages, first layers included, where timm has none."""

from collections.abc import Iterator
from typing import Any

from timm.models._features import FeatureListNet
from torch import nn


def dilate_convolutions(module: nn.Module, rate: int) -> None:
    """Take the stride from all convolutions and give them one rate of dilation, with padding that keeps the size."""
    for conv in _convolutions(module):
        height, width = conv.kernel_size
        conv.stride = (1, 1)
        conv.dilation = (rate, rate)
        conv.padding = (height // 2 * rate, width // 2 * rate)  # exact for odd kernels, see `_refuses_dilation`


def dilate_stages(model: Any, output_stride: int) -> bool:
    """Dilate timm's features to ``output_stride`` or finer, as in dilated residual networks (Yu et al. 2017).

    Returns whether that is possible: the modules have to run in a row, and kernels beyond that
    stride need odd sides. Other layers that make maps coarser, such as pooling, stay, which shows
    in the size of the maps. A stage that upsamples uses strides for another purpose, and is
    refused.
    """
    if not isinstance(model, FeatureListNet):
        return False
    beyond = [(step, stride // output_stride) for step, stride in _strides_of_steps(model) if stride > output_stride]
    # All are checked before any is changed: a refusal leaves the model as it is.
    if any(_refuses_dilation(layer) for step, _ in beyond for layer in step.modules()):
        return False
    for step, rate in beyond:
        dilate_convolutions(step, rate)
    return True


def _refuses_dilation(layer: nn.Module) -> bool:
    has_no_middle = isinstance(layer, nn.Conv2d) and any(side % 2 == 0 for side in layer.kernel_size)
    return has_no_middle or isinstance(layer, nn.ConvTranspose2d | nn.Upsample)


def _strides_of_steps(model: FeatureListNet) -> Iterator[tuple[nn.Module, int]]:
    """Pair each module with the stride of the map that it leads to."""
    coming = iter(model.feature_info.reduction())
    stride = next(coming)
    for name, step in model.items():
        yield step, stride
        if name in model.return_layers:
            stride = next(coming, stride)


def _convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
