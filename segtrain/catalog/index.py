"""Index of timm's encoders, from a shipped table: lookups in milliseconds, without torch and timm.

``scripts/build_zoo_index.py`` writes the table; it describes encoders for three channels with all
features up to stride 32.
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
"""timm's models that cannot be encoders, with the reason."""

ENCODERS: dict[str, list[Any]] = _TABLE["encoders"]

LICENCES: tuple[str, ...] = tuple(licence or "unknown" for licence in _TABLE["licences"])
"""The licences of all weights, as timm states them."""


class Tag(NamedTuple):
    """Pretrained weights in timm: mean and std of their images, scaled to 0..1, and timm's word for the licence."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str


class Row(NamedTuple):
    """One encoder: ``params`` without those of the classifier, ``tags`` with the default weights first.

    ``macs`` are multiply-accumulates for a 256x256 image. Image sides have to be multiples of
    ``size_multiple``, or, with a ``tile``, exactly that size. ``plain`` marks transformers whose
    features all have one stride. ``dilates`` is the finest output stride, 8 or 16, that dilation
    allows, 0 where it is not supported.
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
    """Return the row of a timm name or alias, with or without ``.tag``; ``None`` for an unknown encoder."""
    arch = resolve(name).partition(".")[0]
    return _row(arch) if arch in ENCODERS else None


def find(pattern: str = "") -> list[Row]:
    """Return the encoders with a name or alias that contains ``pattern``, or matches it as a shell pattern."""
    wanted = pattern.lower() if set("*?[") & set(pattern) else f"*{pattern.lower()}*"
    found = {name for name in ENCODERS if fnmatchcase(name, wanted)}
    found |= {resolve(alias).partition(".")[0] for alias in ALIASES if fnmatchcase(alias, wanted)}
    return [_row(name) for name in names() if name in found]


def _row(arch: str) -> Row:
    # the table stores each pair of mean and std, and each licence, once: rows hold their numbers
    columns: dict[str, Any] = dict(zip(_TABLE["columns"], ENCODERS[arch], strict=True))
    mean, std = _TABLE["statistics"][columns.pop("statistics")]
    tags = [_tag(*tag) for tag in columns.pop("tags")]
    columns |= {key: tuple(columns[key]) for key in ("strides", "channels")}
    columns["plain"] = bool(columns["plain"])
    return Row(name=arch, mean=tuple(mean), std=tuple(std), tags=tuple(tags), **columns)


def _tag(name: str, statistics: int, licence: int) -> Tag:
    mean, std = _TABLE["statistics"][statistics]
    return Tag(name, tuple(mean), tuple(std), LICENCES[licence])
