"""The blocks of a model, which run again in its backward pass or are compiled: parts that repeat, of a few layers."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_MOST_WEIGHTS = 8
"""Matrices and kernels that a block has at most: a transformer block of SegFormer's encoder has 7, a bottleneck 4."""


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest modules that have layers of their own and few weights: residual blocks, steps of a decoder.

    A row of such blocks is none itself, however short: each member is.
    """
    for child in module.children():
        if is_block(child):
            yield child
        else:
            yield from blocks(child)


def is_block(module: nn.Module) -> bool:
    """Tell whether a module is one of the `blocks`, if what it lies in is not."""
    members = list(module.children())
    if not members or isinstance(module, nn.ModuleList | nn.ModuleDict):
        return False
    is_row = isinstance(module, nn.Sequential) and any(_weights(member) > 1 for member in members)
    return not is_row and 1 <= _weights(module) <= _MOST_WEIGHTS


def _weights(module: nn.Module) -> int:
    return sum(parameter.ndim > 1 for parameter in module.parameters())


def called_by(call: Callable[..., Any], kind: type[nn.Module]) -> type[nn.Module]:
    """Derive a class of modules that are called by ``call(base, self, ...)``, where ``base`` calls them as before.

    A module whose class alone changes has the same parameters, which an optimizer may hold already, and the same names
    in its ``state_dict``; a deep copy has the class, too.
    """

    def around(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        return call(super(derived, self).__call__, self, *inputs, **options)

    derived: Any = type(kind.__name__, (kind,), {"__call__": around, "__doc__": kind.__doc__})
    return derived  # type: ignore[no-any-return]
