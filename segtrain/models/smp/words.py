"""Argument names of segmentation_models_pytorch, translated for those who write them out of habit."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrain.models.smp.recipe import NORMS, our_options

_OURS = {
    "encoder_name": "encoder",
    "encoder_weights": "weights",
    "classes": "num_classes",
    "aux_params": "classification",
}
_IN_ORDER = ("weights", "in_channels", "num_classes")
"""Arguments that follow architecture and encoder there when given by position."""


def translated(arch: str, options: Mapping[str, Any], by_position: Sequence[object] = ()) -> str | None:
    """Return a line on how arguments with names from there are written here; None without such arguments."""
    ours = {**_OURS, **our_options(arch)}
    theirs = [name for name in options if name in ours]
    called = [f"{name} is {ours[name]} here" for name in theirs]
    written = [f"{ours[name]}={_value(ours[name], options[name])!r}" for name in theirs]
    if by_position:
        called.insert(0, "arch and encoder alone go by position")
        written += [f"{name}={value!r}" for name, value in zip(_IN_ORDER, by_position, strict=False)]
    return f"create_model: {', '.join(called)}; write {', '.join(written)}" if called else None


def _value(name: str, value: Any) -> Any:
    if name == "norm" and isinstance(value, bool | str):
        return NORMS.get(value, value)
    if name == "classification" and isinstance(value, Mapping):
        return {"num_classes" if key == "classes" else key: item for key, item in value.items()}
    return value
