"""Freezing of an encoder's first stages: their parameters, and the modules to keep in evaluation mode."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.func import functional_call

from segtrain.errors import ConfigError
from segtrain.models.contract import Encoder


def stage_parameters(encoder: Encoder, stages: int) -> set[str]:
    """Return the names of the parameters that the first ``stages`` maps after the image depend on.

    Found by differentiating a forward pass on the meta device, so it holds for every kind of
    network. Raises ``ConfigError`` if there are fewer maps.
    """
    count = len(encoder.strides) - 1
    if not 1 <= stages <= count:
        raise ConfigError(
            f"encoder.freeze: expected true, false or a number of stages from 1 to {count}, got {stages}; "
            f"the maps of this encoder have strides {list(encoder.strides[1:])}"
        )
    state = {name: tensor.to("meta") for name, tensor in encoder.state_dict().items()}
    parameters = {name: state[name].requires_grad_() for name, _ in encoder.named_parameters()}
    # Buffers that are not persistent, such as position indices, are in no state dict.
    hidden = {name: b.to("meta") for name, b in encoder.named_buffers() if name not in state}
    size = encoder.size_multiple * 2
    image = torch.empty(2, encoder.out_channels[0], size, size, device="meta")
    maps = functional_call(encoder, {**state, **hidden}, (image,))
    wanted = sum(m.sum() for m in maps[1 : stages + 1])
    gradients = torch.autograd.grad(wanted, list(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def frozen_modules(module: nn.Module, frozen: set[str], prefix: str = "") -> Iterator[nn.Module]:
    """Yield the largest submodules whose parameters are all frozen.

    A module without parameters, such as dropout, goes with the one before it in the same parent.
    """
    still = True  # whether everything so far in this module is frozen
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        inside = [f"{path}.{inner}" for inner, _ in child.named_parameters()]
        if frozen.issuperset(inside):
            if inside or still:
                yield child
            continue
        yield from frozen_modules(child, frozen, f"{path}.")
        still = False
