"""What timm's encoders look like, from a shipped table: answers in milliseconds, without torch and timm.

``scripts/build_zoo_index.py`` writes the table; it describes three-channel encoders with all features up to stride 32.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.catalog.names import ALIASES, resolve

_TABLE = json.loads(Path(__file__).with_name("index.json").read_text(encoding="utf-8"))

TIMM_VERSION: str = _TABLE["timm"]
"""The version of timm that the table describes."""

UNUSABLE: dict[str, str] = {name: reason for reason, names in _TABLE["unusable"].items() for name in names}
"""timm's models that cannot be encoders, and why."""

ENCODERS: dict[str, list[Any]] = _TABLE["encoders"]

LICENCES: tuple[str, ...] = tuple(licence or "unknown" for licence in _TABLE["licences"])
"""Those of all weights, as timm states them."""


class Tag(NamedTuple):
    """Weights that timm has: their images' mean and std on a scale from 0 to 1, and the licence as timm states it."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str


class Row(NamedTuple):
    """One encoder: ``params`` without those of the classifier, ``tags`` with the default weights first.

    ``macs`` are multiply-accumulates for an image of 256x256. It takes images whose sides are multiples of
    ``size_multiple``; with a ``tile``, of exactly that size. ``plain`` transformers have one stride by themselves;
    ``dilates`` is the finest stride, 8 or 16, that dilation can keep, or 0 where there is none.
    """

    name: str
    params: int
    macs: int
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size_multiple: int
    tile: int | None
    plain: bool
    dilates: int
    tags: tuple[Tag, ...]


def names() -> list[str]:
    """List the names of timm's encoders, sorted."""
    return list(ENCODERS)


def lookup(name: str) -> Row | None:
    """Return the row of a timm name or an alias, with or without ``.tag``; ``None`` if there is no such encoder."""
    arch = resolve(name).partition(".")[0]
    return _row(arch) if arch in ENCODERS else None


def find(pattern: str = "") -> list[Row]:
    """Return the encoders whose name, or an alias of it, contains ``pattern`` or matches it as a shell pattern."""
    wanted = pattern.lower() if set("*?[") & set(pattern) else f"*{pattern.lower()}*"
    found = {name for name in ENCODERS if fnmatchcase(name, wanted)}
    found |= {resolve(alias).partition(".")[0] for alias in ALIASES if fnmatchcase(alias, wanted)}
    return [_row(name) for name in names() if name in found]


def _row(arch: str) -> Row:
    columns: dict[str, Any] = dict(zip(_TABLE["columns"], ENCODERS[arch], strict=True))
    mean, std = _TABLE["statistics"][columns.pop("statistics")]
    tags = [_tag(*tag) for tag in columns.pop("tags")]
    columns |= {key: tuple(columns[key]) for key in ("strides", "channels")}
    columns["plain"] = bool(columns["plain"])
    return Row(name=arch, mean=tuple(mean), std=tuple(std), tags=tuple(tags), **columns)


def _tag(name: str, statistics: int, licence: int) -> Tag:
    mean, std = _TABLE["statistics"][statistics]
    return Tag(name, tuple(mean), tuple(std), LICENCES[licence])
