"""The parts of a model that FSDP gathers one after another."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

_LARGEST, _LEAST = 1 / 10, 1 / 1000  # of all weights: what is larger is divided, what is less stays with the rest


def blocks(model: nn.Module, image: Tensor) -> list[nn.Module]:
    """Return the blocks of a model: disjoint modules with at most a tenth of its weights each, where it can be divided.

    Only modules that run as a whole are blocks, not those whose weights another one reads: a forward pass of
    ``image``, ``(1, C, H, W)`` of floats on the model's device, shows which. What is in no block is the rest.
    """
    ran, mode = set[nn.Module](), model.training
    handles = [module.register_forward_hook(lambda module, *_: ran.add(module)) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()(image)  # statistics and random state stay as they are
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
    total = weights_of(model)
    return [block for block in _divided(model, ran, total * _LARGEST) if weights_of(block) >= total * _LEAST]


def _divided(module: nn.Module, ran: set[nn.Module], largest: float) -> Iterator[nn.Module]:
    for child in module.children():
        inner = [] if child in ran and weights_of(child) <= largest else list(_divided(child, ran, largest))
        if inner:
            yield from inner
        elif child in ran:
            yield child


def weights_of(module: nn.Module) -> int:
    """Return the number of weights of a module, those of modules in it included."""
    return sum(parameter.numel() for parameter in module.parameters())
