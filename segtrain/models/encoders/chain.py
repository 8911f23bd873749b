"""Feature maps taken at any modules of a sequential model, with dilation."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.dpn import DualPathBlock
from torch import Tensor, nn
from torch.func import functional_call

from segtrain.errors import ConfigError
from segtrain.models.encoders.dilation import dilate_convolutions

_PROBE = 64  # pixels a side of the image that is passed through a model to see how it is wired


class Chain(nn.Module):
    """The first part of a model: the modules ``steps`` in turn, with a map taken after each of ``taps``, finest first.

    Modules keep their names in the model, so its weights load. The blocks of dual path networks
    (Chen et al. 2017) return maps before activation; the map taken is after the ReLU that their
    next block begins with.
    """

    def __init__(self, model: nn.Module, steps: Sequence[str], taps: Sequence[str]) -> None:
        super().__init__()
        self.steps = tuple(steps)
        self.taps = tuple(taps)
        for step in steps:
            _graft(self, step, model.get_submodule(step))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Run the steps over ``(N, C, H, W)``."""
        maps = []
        x: Any = image
        for step in self.steps:
            module = self.get_submodule(step)
            x = module(x)
            if step in self.taps:
                maps.append(_activated(x) if isinstance(module, DualPathBlock) else x)
        return maps


def _activated(x: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return F.relu(torch.cat(x, dim=1) if isinstance(x, tuple) else x)  # a pair in older releases of timm


def cut(model: nn.Module, taps: Sequence[str], *, in_channels: int = 3) -> Chain:
    """Cut a model behind the last of ``taps``: names of its modules, in the order in which they run.

    The last may lie within a module of the chain, as ``norm5.drop`` does: the layers after it
    there, an activation, are left out. Raises ``ConfigError`` for a name that the model lacks, and
    where the modules up to the last are no chain, that is, not each called once with the result of
    the one before.
    """
    modules = dict(model.named_modules())
    unknown = [tap for tap in taps if tap not in modules]
    if unknown or not taps:
        expected = ", ".join(name for name, _ in model.named_children())
        raise ConfigError(f"encoder.taps: the encoder has no module {unknown}, expected names below {expected}")
    steps = list(_steps(model, taps))
    last = steps[-1]
    if taps[-1] != last:  # within a module that is no nn.Sequential, and so one step
        _drop_after(taps[-1], modules)
    taps = [*taps[:-1], last]
    if [step for step in steps if step in taps] != taps:
        raise ConfigError(f"encoder.taps: {taps} are not one after another, expected the order of {steps}")
    _check_chain(model, steps, in_channels)
    return Chain(model, steps, taps)


def dilate(chain: Chain, output_stride: int, *, in_channels: int = 3) -> None:
    """Dilate a chain so that its maps have ``output_stride`` or finer, if they do not already.

    Between two taps all convolutions lose their stride and get one rate of dilation, the first ones
    too, unlike in timm. Raises ``ConfigError`` where something else makes a map coarser, such as
    pooling, or where the taps have not the strides 2, 4, 8, ...
    """
    _, strides = measure(chain, in_channels)
    if strides[-1] <= output_stride:
        return
    for step, stride in _strides_of_steps(chain, strides):
        if stride > output_stride:
            dilate_convolutions(chain.get_submodule(step), stride // output_stride)
    # Measured again: pooling and blocks of their own padding show only in the maps.
    _, dilated = measure(chain, in_channels)
    doubling = strides == tuple(2 ** (i + 1) for i in range(len(strides)))
    if not doubling or dilated != tuple(min(stride, output_stride) for stride in strides):
        raise ConfigError(
            f"encoder.output_stride: taps of the strides {list(strides)} cannot be dilated to {output_stride}, expected"
            " 2, 4, 8, ... and no pooling between them; set encoder.output_stride=32"
        )


def _strides_of_steps(chain: Chain, strides: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Pair each step with the stride of the map that it leads to."""
    coming = iter(strides)
    stride = next(coming)
    for step in chain.steps:
        yield step, stride
        if step in chain.taps:
            stride = next(coming, stride)


def measure(model: nn.Module, in_channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the channels and the strides of a model's maps, by a pass on the meta device."""
    maps = _probe(model, in_channels)
    return tuple(m.shape[1] for m in maps), tuple(_PROBE // m.shape[-1] for m in maps)


def _probe(model: nn.Module, in_channels: int) -> Any:
    """Run a model on the meta device, where nothing is computed; its own tensors stay as they are."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    with torch.no_grad():
        return functional_call(model, meta, torch.empty(2, in_channels, _PROBE, _PROBE, device="meta"))


def _steps(module: nn.Module, taps: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Yield the names of the modules up to the last tap; a sequence that holds a tap is entered."""
    for child_name, child in module.named_children():
        name = prefix + child_name
        inner = [tap for tap in taps if tap.startswith(f"{name}.")]
        if inner and isinstance(child, nn.Sequential):
            yield from _steps(child, taps, f"{name}.")
        else:
            yield name
        if taps[-1] in (name, *inner):
            return


def _drop_after(tap: str, modules: dict[str, nn.Module]) -> None:
    parent, _, own = tap.rpartition(".")
    names = [name for name, _ in modules[parent].named_children()]
    for name in names[names.index(own) + 1 :]:
        setattr(modules[parent], name, nn.Identity())  # not deleted, as the parent's forward still calls it


def _check_chain(model: nn.Module, steps: Sequence[str], in_channels: int) -> None:
    """Check by hooks on a pass through the model that each step gets the very object that the one before returned."""
    calls: list[tuple[str, Any, Any]] = []

    def watch(name: str) -> Any:
        return lambda _module, args, output: calls.append((name, args, output))

    handles = [model.get_submodule(step).register_forward_hook(watch(step)) for step in steps]
    try:
        _probe(model, in_channels)
    finally:
        for handle in handles:
            handle.remove()
    handed_on = all(len(args) == 1 and args[0] is before for (_, _, before), (_, args, _) in pairwise(calls))
    if [name for name, _, _ in calls] != list(steps) or not handed_on:
        raise ConfigError(
            f"encoder.taps: {', '.join(steps)} of this encoder are not run one after another; set encoder.taps=null"
        )


def _graft(root: nn.Module, name: str, module: nn.Module) -> None:
    # Containers in between are rebuilt empty, so that names stay and what a model has besides is
    # left behind.
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.add_module(last, module)
