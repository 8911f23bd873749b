"""Weights trained on colour images, for images with any number of channels."""

from itertools import cycle, islice
from typing import Any

from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame
from torch import Tensor, nn

from segtrain.errors import ConfigError

_COLOURS = 3


def adapt_stem(source: nn.Module, target: nn.Module, *, encoder: str) -> None:
    """Give ``target`` the weights of ``source``, the same network for images of three channels.

    What has another shape there sees the image: ``(C, 3, h, w)``, or ``(C, n * 3, ...)`` where patches of n pixels are
    its channels. It is summed over the colours for one channel, else they are repeated in turn and scaled; so images
    whose channels are equal keep their features. Standardised weights keep a factor for each filter where they have a
    gain for it (NFNet), and lose it where not (BiT).

    Raises ``ConfigError`` where nothing depends on the number of channels: such a network cannot do without colours.
    """
    adapted, own = source.state_dict(), target.state_dict()
    stem = [name for name, tensor in adapted.items() if tensor.shape != own[name].shape]
    if not stem:
        raise ConfigError(f"encoder.name: {encoder} takes images of three channels only; choose another encoder")
    for name in stem:
        channels = own[name].shape[1] * _COLOURS // adapted[name].shape[1]
        layer = name.rpartition(".")[0]
        conv = source.get_submodule(layer)
        if isinstance(conv, ScaledStdConv2d | ScaledStdConv2dSame):
            adapted[name] = _spread(_standardised(conv), channels)
            adapted[f"{layer}.gain"] = _gain(adapted[name], target.get_submodule(layer))
        else:
            adapted[name] = _spread(adapted[name], channels)
    target.load_state_dict(adapted)


def _spread(weight: Tensor, channels: int) -> Tensor:
    filters, _, *kernel = weight.shape
    # Colours vary fastest in all networks of timm that make channels of patches.
    pixels = weight.reshape(filters, -1, _COLOURS, *kernel)
    if channels == 1:
        return pixels.sum(2)
    chosen = list(islice(cycle(range(_COLOURS)), channels))
    return (pixels[:, :, chosen] * (_COLOURS / channels)).flatten(1, 2)


def _standardised(conv: Any) -> Tensor:
    """Return the weights that a scaled weight standardisation convolves with (Brock et al. 2021, equation 6)."""
    weight: Tensor = conv.weight.detach()
    deviation = weight - weight.mean((1, 2, 3), keepdim=True)
    scale = conv.gain.detach() * conv.scale
    standardised: Tensor = deviation * scale / (_variance(weight) + conv.eps).sqrt()
    return standardised


def _gain(weight: Tensor, conv: Any) -> Tensor:
    """Return the gain with which ``weight`` standardised is as large as it is by itself."""
    gain: Tensor = (_variance(weight) + conv.eps).sqrt() / conv.scale
    return gain


def _variance(weight: Tensor) -> Tensor:
    return weight.var((1, 2, 3), correction=0, keepdim=True)
