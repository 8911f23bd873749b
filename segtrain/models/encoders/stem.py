"""Weights trained on colour images, for images with any number of channels."""

from itertools import cycle, islice

from torch import Tensor, nn

from segtrain.errors import ConfigError


def adapt_stem(source: nn.Module, target: nn.Module, *, encoder: str) -> None:
    """Give ``target`` the weights of ``source``, the same network for three channels.

    What both have in another shape is a convolution over the image, ``(C, 3, h, w)``: summed over the channels for one,
    else repeated in turn and scaled so that an image of equal channels keeps its features. Raises ``ConfigError`` where
    no tensor depends on the number of channels, as such a network cannot do without colours.
    """
    wanted = {name: tensor.shape for name, tensor in target.state_dict().items()}
    state = source.state_dict()
    stem = [name for name, tensor in state.items() if tensor.shape != wanted[name]]
    if not stem:
        raise ConfigError(f"encoder.name: {encoder} takes images of three channels only; choose another encoder")
    target.load_state_dict({**state, **{name: _spread(state[name], wanted[name][1]) for name in stem}})


def _spread(weight: Tensor, channels: int) -> Tensor:
    colours = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, list(islice(cycle(range(colours)), channels))] * (colours / channels)
