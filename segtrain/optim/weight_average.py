"""The mean of the weights of several models."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from segtrain.errors import CheckpointError


def mean_of_weights(states: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Average the tensors of state dicts by name, each in its own dtype (Izmailov et al. 2018; Wortsman et al. 2022).

    Each comes with the name of its model, for messages. They are read one after another, and summed in float64;
    integers, such as counters, are those of the last. Raises `CheckpointError` where names or shapes differ.
    """
    sums: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    count, first = 0, ""
    for model, state in states:
        if count == 0:
            first, kinds = model, {name: tensor.dtype for name, tensor in state.items()}
            sums = {name: torch.zeros_like(t, dtype=_wide(t), device="cpu") for name, t in state.items()}
        _refuse_unlike(model, state, first, sums)
        for name, tensor in state.items():
            sums[name] = sums[name] + tensor.cpu() if tensor.is_floating_point() else tensor.cpu().clone()
        count += 1
    return {name: (t / count if t.is_floating_point() else t).to(kinds[name]) for name, t in sums.items()}


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.is_floating_point() else tensor.dtype


def _refuse_unlike(model: str, state: Mapping[str, Tensor], first: str, sums: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` where a model has other tensors than the first."""
    strange = sorted(state.keys() ^ sums.keys())
    shapes = {name: (tuple(state[name].shape), tuple(sums[name].shape)) for name in state.keys() & sums.keys()}
    unlike = [f"{name} is {mine}, not {theirs}" for name, (mine, theirs) in sorted(shapes.items()) if mine != theirs]
    if strange or unlike:
        what = unlike[0] if unlike else f"only one of the two has {strange[0]}"
        raise CheckpointError(
            f"{model}: is another model than {first} ({what}), expected the same architecture and classes; average "
            "checkpoints of one config"
        )
