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
        conv.padding = (height // 2 * rate, width // 2 * rate)


def dilate_stages(model: Any, output_stride: int) -> bool:
    """Keep the maps of timm's features at ``output_stride`` or finer, as dilated ResNets do (Yu et al. 2017).

    Says whether it could: the modules have to run in a row, and each kernel beyond that stride needs a middle. What
    else makes maps coarser there, such as pooling, is left, and shows in the size of the maps. A stage that enlarges
    again what it made smaller has strides of another purpose.
    """
    if not isinstance(model, FeatureListNet):
        return False
    beyond = [(step, stride // output_stride) for step, stride in _strides_of_steps(model) if stride > output_stride]
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
