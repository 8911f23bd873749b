"""Adapt weights trained on colour images to any number of input channels."""

from itertools import cycle, islice
from typing import Any

from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame
from torch import Tensor, nn

from segtrain.errors import ConfigError

_COLOURS = 3


def adapt_stem(source: nn.Module, target: nn.Module, *, encoder: str) -> None:
    """Copy to ``target`` the weights of ``source``, the same network for images of three channels.

    Tensors of another shape are those that see the image: ``(C, 3, h, w)``, or ``(C, n * 3, ...)``
    where patches of n pixels are its channels. For one channel they are summed over the colours,
    otherwise the colours are repeated in turn and scaled; so images whose channels are equal keep
    their features. Standardised weights keep the scale of each filter if they have a gain for it
    (NFNet), and lose it otherwise (BiT).

    Raises ``ConfigError`` if no tensor depends on the number of channels: such a network takes
    colour images only.
    """
    adapted, own = source.state_dict(), target.state_dict()
    stem = [name for name, tensor in adapted.items() if tensor.shape != own[name].shape]
    if not stem:
        raise ConfigError(f"encoder.name: {encoder} takes images of three channels only; choose another encoder")
    for name in stem:
        channels = own[name].shape[1] * _COLOURS // adapted[name].shape[1]  # of the image, for patches too
        layer = name.rpartition(".")[0]
        conv = source.get_submodule(layer)
        if isinstance(conv, ScaledStdConv2d | ScaledStdConv2dSame):
            adapted[name] = _spread(_standardised(conv), channels)
            adapted[f"{layer}.gain"] = _gain(adapted[name], target.get_submodule(layer))
        else:
            adapted[name] = _spread(adapted[name], channels)
    target.load_state_dict(adapted)


def _spread(weight: Tensor, channels: int) -> Tensor:
    """Weight for ``channels`` channels from that for three: ``(C, n * 3, ...)`` to ``(C, n * channels, ...)``."""
    filters, _, *kernel = weight.shape
    # Colours vary fastest in all networks of timm that turn patches into channels: (C, n, 3, ...).
    pixels = weight.reshape(filters, -1, _COLOURS, *kernel)
    if channels == 1:
        return pixels.sum(2)
    chosen = list(islice(cycle(range(_COLOURS)), channels))
    return (pixels[:, :, chosen] * (_COLOURS / channels)).flatten(1, 2)


def _standardised(conv: Any) -> Tensor:
    """Return the weights after scaled weight standardisation (Brock et al. 2021, equation 6)."""
    weight: Tensor = conv.weight.detach()
    deviation = weight - weight.mean((1, 2, 3), keepdim=True)
    scale = conv.gain.detach() * conv.scale
    standardised: Tensor = deviation * scale / (_variance(weight) + conv.eps).sqrt()
    return standardised


def _gain(weight: Tensor, conv: Any) -> Tensor:
    """Return the gain with which ``weight``, standardised, keeps its scale."""
    gain: Tensor = (_variance(weight) + conv.eps).sqrt() / conv.scale
    return gain


def _variance(weight: Tensor) -> Tensor:
    return weight.var((1, 2, 3), correction=0, keepdim=True)
