"""Freezing of an encoder's first stages: their parameters, and the modules to keep in evaluation mode."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.func import functional_call

from segtrain.errors import ConfigError
from segtrain.models.contract import Encoder


def stage_parameters(encoder: Encoder, stages: int) -> set[str]:
    """Return the names of the parameters that the first ``stages`` maps after the image depend on.

    Raises ``ConfigError`` if there are fewer maps.
    """
    count = len(encoder.strides) - 1
    if not 1 <= stages <= count:
        raise ConfigError(
            f"encoder.freeze: expected true, false or a number of stages from 1 to {count}, got {stages}; "
            f"the maps of this encoder have strides {list(encoder.strides[1:])}"
        )
    return {name for name, stage in first_maps(encoder).items() if stage <= stages}


def first_maps(encoder: Encoder) -> dict[str, int]:
    """Return for each parameter the number of the first map after the image that depends on it, counted from 1.

    Found by differentiating a forward pass on the meta device, so it holds for every kind of
    network. Parameters that no map depends on are left out.
    """
    state = {name: tensor.to("meta") for name, tensor in encoder.state_dict().items()}
    parameters = {name: state[name].requires_grad_() for name, _ in encoder.named_parameters()}
    # Buffers that are not persistent, such as position indices, are in no state dict.
    hidden = {name: b.to("meta") for name, b in encoder.named_buffers() if name not in state}
    size = encoder.size_multiple * 2
    image = torch.empty(2, encoder.out_channels[0], size, size, device="meta")
    maps = functional_call(encoder, {**state, **hidden}, (image,))
    found: dict[str, int] = {}
    for number, one in enumerate(maps[1 : len(encoder.strides)], 1):
        left = [name for name in parameters if name not in found]
        if left:
            sought = [parameters[name] for name in left]
            gradients = torch.autograd.grad(one.sum(), sought, allow_unused=True, retain_graph=True)
            found |= {name: number for name, gradient in zip(left, gradients, strict=True) if gradient is not None}
    return found


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
