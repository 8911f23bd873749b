"""Checks of what users write under ``loss``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.errors import ConfigError


def check_range(option: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise ConfigError unless low <= value < high."""
    if not low <= value < high:
        below = "" if high == float("inf") else f" < {high:g}"
        raise ConfigError(
            f"loss.{option}: {value:g} is out of range, expected {low:g} <= {option}{below}; set loss.{option}={low:g}"
        )


def weight_vector(option: str, values: Sequence[float] | None, names: Sequence[str]) -> Tensor | None:
    """Turn one weight for each name into float32 ``(len(names),)``; raise ConfigError where their numbers differ."""
    if values is None:
        return None
    if len(values) != len(names):
        example = ", ".join("1.0" for _ in names)
        raise ConfigError(
            f"loss.{option}: {len(values)} weights, expected {len(names)}, one each for {', '.join(names)}; "
            f"set loss.{option}=[{example}]"
        )
    return torch.tensor(list(values), dtype=torch.float32)
