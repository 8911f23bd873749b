"""Activation checkpointing: blocks keep their inputs alone, and run again in the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, reduce
from typing import Any

import torch
from timm.models._features import FeatureListNet
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from segtrain.models.blocks import blocks, called_by, is_block


def checkpoint_blocks(model: nn.Module) -> int:
    """Make each of a model's `blocks` keep nothing but its inputs for the backward pass; return how many there are.

    The backward pass runs a block again to get what it needs (Chen et al. 2016, https://arxiv.org/abs/1604.06174),
    with the same random numbers and autocast, and without touching running statistics: losses, gradients and buffers
    are those of the model as it was. Names in the ``state_dict`` stay, and so does a pass without gradients.
    """
    found = list(blocks(model))
    for block in found:
        # The class alone changes: parameters stay the same objects, which an optimizer may hold already.
        kind: Any = type(block)
        block.__class__ = _checkpointed(kind)
    rows = [module for module in model.modules() if type(module) is FeatureListNet]
    for row in rows:
        row.__class__ = CheckpointedRuns
    return len(found)


def checkpointed_parts(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield the first and the last module of each part that `checkpoint_blocks` makes run again."""
    yield from ((block, block) for block in blocks(model))
    for row in model.modules():
        if isinstance(row, FeatureListNet):
            yield from ((row[run[0]], row[run[-1]]) for run in runs(row) if not _stays(row[run[0]]))


@cache
def _checkpointed(kind: Any) -> Any:
    return called_by(again, kind)


class CheckpointedRuns(FeatureListNet):
    """timm's modules in a row, whose layers between blocks and returned maps are checkpointed together: a stem, VGG."""

    def _collect(self, x: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for run in runs(self):
            modules = [self[name] for name in run]
            x = modules[0](x) if _stays(modules[0]) else again(_in_a_row, nn.ModuleList(modules), modules, x)
            if run[-1] in self.return_layers:
                several = isinstance(x, list | tuple)
                found[self.return_layers[run[-1]]] = (torch.cat(x, 1) if self.concat else x[0]) if several else x
        return found


def runs(row: FeatureListNet) -> Iterator[list[str]]:
    """Yield the names of modules in a row, those together that lie between blocks and returned maps."""
    run: list[str] = []
    for name, module in row.items():
        is_one = _has_blocks(module) or (not run and _stays(module))
        if is_one and run:
            yield run
            run = []
        run.append(name)
        if is_one or name in row.return_layers:
            yield run
            run = []


def _has_blocks(module: nn.Module) -> bool:
    return is_block(module) or any(True for _ in blocks(module))


def _stays(module: nn.Module) -> bool:
    """Tell whether a run that begins with this module would be wrong: one in place has changed its own input."""
    return _has_blocks(module) or any(getattr(part, "inplace", False) for part in module.modules())


def _in_a_row(modules: list[nn.Module], x: Tensor) -> Tensor:
    return reduce(lambda before, module: module(before), modules, x)


def again(run: Callable[..., Any], owner: nn.Module, *inputs: Any, **options: Any) -> Any:
    """Call ``run``, a part of ``owner``, so that the backward pass calls it again, where gradients are asked for."""
    if not torch.is_grad_enabled():
        return run(*inputs, **options)

    # Flat, as a list of maps may grow afterwards, and torch notices a tensor that changes only where it is an argument.
    leaves, form = tree_flatten((inputs, options))

    def run_flat(*leaves: Any) -> Any:
        inputs, options = tree_unflatten(leaves, form)
        return run(*inputs, **options)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), buffers_kept(owner)

    return checkpoint(run_flat, *leaves, use_reentrant=False, context_fn=contexts)


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Let what runs in the block, such as batch normalisation, update copies of the buffers: they stay as they are."""
    kept = [(part, name, buffer) for part in module.modules() for name, buffer in part.named_buffers(recurse=False)]
    for part, name, buffer in kept:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:  # recomputation ends by an exception as soon as it has all that is needed
        for part, name, buffer in kept:
            setattr(part, name, buffer)
