"""Tensors that are shared out: each of several ranks holds a shard of them."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard
from torch.optim import Optimizer


def own_shard(tensor: Tensor) -> Tensor:
    """Return this rank's shard of a tensor, in the same memory; a tensor that is not shared out is returned itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(value: Any, *, keep: bool = True) -> Any:
    """Gather all tensors in dicts, lists and tuples that are shared out, one after another, into memory of the CPU.

    All ranks call it, with the same tensors in one order. A rank that does not ``keep`` them gets None in their place.
    """

    def gathered(tensor: Tensor) -> Tensor | None:
        if not isinstance(tensor, DTensor):
            return tensor
        full: Tensor = tensor.full_tensor().detach()
        return full.cpu() if keep else None

    return each_tensor(value, gathered)


def each_tensor(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Copy dicts, lists and tuples, with what ``change`` returns in the place of each tensor in them."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        made = copy.copy(value)  # of its own type: a module's state has a note of its version
        for key, item in value.items():
            made[key] = each_tensor(item, change)
        return made
    if isinstance(value, list | tuple):
        return type(value)(each_tensor(item, change) for item in value)
    return value


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a copy of a tensor that lies as another one of its shape: on its device, in its layout, and in shards.

    All ranks have the same one, and each takes its shard.
    """
    if isinstance(tensor, DTensor):
        return tensor.detach().clone()
    if isinstance(other, DTensor):
        assert other.placements == (Shard(0),)  # as FSDP shares out: by rows, the last ranks may have fewer or none
        mesh, rows = other.device_mesh, tensor.contiguous().chunk(other.device_mesh.size())
        own = rows[mesh.get_local_rank()] if mesh.get_local_rank() < len(rows) else rows[0][:0]
        shape, stride = tensor.shape, tensor.contiguous().stride()
        own = own.to(other.device, copy=True)
        return DTensor.from_local(own, mesh, other.placements, run_check=False, shape=shape, stride=stride)
    return torch.empty_like(other, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


def state_like(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a model with those tensors shared out that are so in ``own``, another state of it."""
    return {
        name: like(value, own[name]) if isinstance(own.get(name), DTensor) else value for name, value in state.items()
    }


def memory_like(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer of the same weights, with what is of a weight's shape lying as that weight.

    Fused kernels walk through the memory of both side by side, and meet other values where it is laid out otherwise
    (torch 2.14, AdamW on the CPU).
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    held = {
        number: {key: _beside(value, weights[number]) for key, value in memory.items()}
        for number, memory in state["state"].items()
    }
    return {**state, "state": held}


def _beside(value: Any, weight: Tensor) -> Any:
    is_alike = isinstance(value, Tensor) and weight.ndim and value.shape == weight.shape
    return like(value, weight) if is_alike else value
