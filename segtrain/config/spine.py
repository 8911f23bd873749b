"""Converting a composed mapping to the frozen dataclasses of the schema, with all problems listed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from segtrain.config.schema import Leaf
from segtrain.config.signature import MISSING, TARGET, annotations_of, check_leaf, check_value, locate, with_texts
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

T = TypeVar("T")

PROVIDED: Mapping[str, frozenset[str]] = {
    "arch": frozenset({"encoder_channels", "encoder_strides", "encoder_prefix_tokens"}),
    "encoder": frozenset({"in_channels", "demands"}),
    "loss": frozenset({"task", "mode", "pixel_counts"}),
    "image_head": frozenset({"in_channels", "num_classes"}),
    "data": frozenset({"split"}),
    "augment": frozenset(),
    "optimizer": frozenset({"params", "lr", "weight_decay", "fused"}),
    "scheduler": frozenset(),
    "infer": frozenset(),
    "logger": frozenset({"folder"}),
}
"""The keyword arguments of each leaf that code passes, and YAML cannot set."""


def check_spine(node: Mapping[str, Any], schema: type, path: str = "") -> list[str]:
    """List unknown, missing and wrong keys of a node, except in leaves, which `check_leaves` checks.

    Nothing is imported. A field such as ``as_``, named around a keyword of Python, is the key ``as``.
    """
    hints = {key_of(name): kind for name, kind in get_type_hints(schema, include_extras=True).items()}
    mixed = "leaf" in hints  # unknown keys of a mixed node are its leaf's
    problems = []
    for key, kind in hints.items():
        where = f"{path}.{key}" if path else key
        if key == "leaf":
            continue
        if key not in node or node[key] == MISSING:
            problems.append(f"{where}: missing; add {where}=...")
        elif (inner := _node_type(kind)) and (node[key] is not None or inner == kind):
            problems += _check_inner(node[key], inner, where)
        else:
            problems += check_value(node[key], kind, where)
    if not mixed:
        start = f"{path}." if path else ""
        unknown = [str(key) for key in node if key not in hints]
        problems += [f"{start}{key}: unknown key{did_you_mean(key, hints, listed=24)}" for key in unknown]
    return problems


def key_of(field: str) -> str:
    """Return the config key of a field of the schema: ``as`` for ``as_``."""
    return field.removesuffix("_")


def _node_type(kind: Any) -> Any:
    """Return the dataclass or `Leaf` in an annotation, optional or not; None for a plain value."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    nodes = [member for member in members if is_dataclass(member) or member == Leaf]
    return nodes[0] if nodes else None


def _check_inner(node: Any, kind: Any, where: str) -> list[str]:
    if not isinstance(node, Mapping):
        return [f"{where}: expected one of the choices of {where}, got {node!r}; `segtrain --help` lists them"]
    return check_spine(node, kind, where) if is_dataclass(kind) and isinstance(kind, type) else []


def check_leaves(config: Any) -> list[str]:
    """List what is wrong with the leaves of a checked config; imports their targets."""
    problems = []
    for field in fields(config):
        value = getattr(config, field.name)
        leaf = getattr(value, "leaf", value)
        if field.name in PROVIDED and value is not None:
            problems += check_leaf(leaf, field.name, provided=PROVIDED[field.name])
    return problems


def leaves_with_texts(config: T) -> T:
    """Return a checked config with numbers converted to strings where a leaf's signature takes strings."""
    changes: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if field.name in PROVIDED and value is not None:
            leaf = _with_texts(getattr(value, "leaf", value), field.name)
            changes[field.name] = replace(value, leaf=leaf) if hasattr(value, "leaf") else leaf
    return replace(config, **changes)  # type: ignore[type-var]


def _with_texts(leaf: Leaf, path: str) -> Leaf:
    hints = annotations_of(locate(leaf[TARGET], path))
    return {key: with_texts(value, hints.get(key)) for key, value in leaf.items()}


def to_config(node: Mapping[str, Any], schema: type[T], path: str = "") -> T:
    """Build the frozen dataclass of a schema; raises `ConfigError` with a line for each problem."""
    problems = check_spine(node, schema, path)
    if problems:
        raise ConfigError("\n".join(problems))
    hints = get_type_hints(schema)
    values = {}
    for name, kind in hints.items():
        if name != "leaf":
            inner, key = _node_type(kind), key_of(name)
            nested = is_dataclass(inner) and node[key] is not None
            values[name] = to_config(node[key], inner) if nested else with_texts(node[key], kind)
    if "leaf" in hints:
        values["leaf"] = {key: value for key, value in node.items() if key not in values}
    return schema(**values)
