"""Parameter groups of an optimizer, by learning rate and weight decay."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from segtrain.catalog.table import aligned, quantity
from segtrain.config.schema import GroupOption
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

_POSITION = re.compile(r"(?:^|_)(?:pos|position|relative|rel|bias|biases|tokens?)(?:_|\d|$)")
"""In the last part of the names of position embeddings, tables of relative positions and class tokens."""
_ENCODER = "encoder."
_NONE: Mapping[Any, Any] = MappingProxyType({})


class _Kind(NamedTuple):
    """What the parameters of one group share."""

    lr: float
    weight_decay: float
    is_matrix: bool


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    encoder_lr_factor: float,
    layer_decay: float | None = None,
    layers: Mapping[str, int] = _NONE,
    decay_positions: bool = False,
    groups: Mapping[str, Mapping[GroupOption, float]] = _NONE,
    matrices_apart: bool = False,
) -> list[dict[str, Any]]:
    """Group parameters by learning rate and weight decay.

    The rate of an encoder's parameter is ``lr * encoder_lr_factor * layer_decay ** layers[name]``, with the names that
    they have within the encoder. Norms, biases and scales do not decay; position embeddings and class tokens only
    with ``decay_positions``. ``groups`` change that for parameters by pattern, of a name or a module above it: of
    several that match, the last counts; ``lr_factor`` multiplies the rate, ``weight_decay`` replaces it.
    ``matrices_apart`` puts weights of two axes between input and output into groups of their own.

    Frozen parameters are included: an optimizer skips those without a gradient, and some are unfrozen
    later. Each group carries ``base_lr``, which a schedule's factor multiplies. Raises `ConfigError` for a pattern
    that no parameter matches.
    """
    names = [name for name, _ in model.named_parameters()]
    _refuse_strangers(groups, names)
    # Groups in order of first appearance: the optimizer numbers its state by it, and checkpoints
    # hold that.
    sorted_out: dict[_Kind, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = encoder_lr_factor if name.startswith(_ENCODER) else 1.0
        if layer_decay is not None:
            factor *= layer_decay ** layers.get(name.removeprefix(_ENCODER), 0) if name.startswith(_ENCODER) else 1.0
        own = next((options for pattern, options in reversed([*groups.items()]) if _is_meant(pattern, name)), _NONE)
        is_weight = decays(name, parameter, positions=decay_positions)
        decay = own.get("weight_decay", weight_decay if is_weight else 0.0)
        is_matrix = matrices_apart and is_weight and parameter.ndim == 2 and not _predicts(name)
        kind = _Kind(lr * factor * own.get("lr_factor", 1.0), decay, is_matrix)
        sorted_out.setdefault(kind, []).append(parameter)
    apart = [{"is_matrix": kind.is_matrix} if matrices_apart else {} for kind in sorted_out]
    return [
        {"params": parameters, "lr": kind.lr, "base_lr": kind.lr, "weight_decay": kind.weight_decay, **extra}
        for (kind, parameters), extra in zip(sorted_out.items(), apart, strict=True)
    ]


def decays(name: str, parameter: nn.Parameter, *, positions: bool) -> bool:
    """Tell whether weight decay makes sense for a parameter: not for norms, biases and scales.

    Nor for position embeddings and class tokens, unless ``positions``.
    """
    if parameter.ndim <= 1 or positions:
        return parameter.ndim > 1
    last = name.rpartition(".")[2]
    is_scale = parameter.numel() == max(parameter.shape)  # (C, 1, 1) is a vector that is multiplied by maps
    return "weight" in last or not (is_scale or _POSITION.search(last))


def _predicts(name: str) -> bool:
    return "_head" in name.partition(".")[0]


def _is_meant(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _refuse_strangers(patterns: Iterable[str], names: Sequence[str]) -> None:
    """Raise `ConfigError` for each pattern that no parameter matches, with the name nearest to it."""
    problems = []
    for pattern in patterns:
        if not any(_is_meant(pattern, name) for name in names):
            modules = {name.rsplit(".", cut)[0] for name in names for cut in range(1, name.count(".") + 1)}
            tops = {name.partition(".")[0] for name in names}
            hint = did_you_mean(pattern.rstrip(".*"), modules | set(names), listed=0)
            remedy = hint or f"; names begin with {', '.join(sorted(tops))}"
            problems.append(f"optimizer.groups: no parameter is called {pattern!r}, expected part of the model{remedy}")
    if problems:
        raise ConfigError("\n".join(problems))


def parameter_names(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the names of parameters in the order by which an optimizer's state dict numbers them."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in groups for parameter in group["params"]]


def group_table(model: nn.Module, groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table of an optimizer's groups; none if all learn at one rate."""
    if len({group["base_lr"] for group in groups}) == 1:
        return []
    rows = [("learning rate", "weight decay", "parameters", "tensors", "of them")]
    for group in sorted(groups, key=lambda group: (group["base_lr"], group["weight_decay"])):
        numbers = [f"{group[key]:.3g}" for key in ("base_lr", "weight_decay")]
        count = quantity(sum(parameter.numel() for parameter in group["params"]))
        first, *others = parameter_names(model, [group])
        named = f"{first} .. {others[-1]}" if others else first
        rows.append((*numbers, count, str(len(group["params"])), named))  # type: ignore[arg-type]
    return aligned(rows, right={0, 1, 2, 3})


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to its ``base_lr`` times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
