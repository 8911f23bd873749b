"""What timm's encoders look like, from a shipped table: answers in milliseconds, without torch and timm.

``scripts/build_zoo_index.py`` writes the table; it describes all features up to stride 32 of three-channel encoders.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from segtrain.catalog.names import ALIASES, resolve

_TABLE = json.loads(Path(__file__).with_name("index.json").read_text(encoding="utf-8"))

TIMM_VERSION: str = _TABLE["timm"]
"""The version of timm that the table describes."""

UNUSABLE: dict[str, str] = {name: reason for reason, names in _TABLE["unusable"].items() for name in names}
"""timm's models that cannot be encoders, and why."""


class Row(NamedTuple):
    """One encoder: ``params`` without those of the classifier, ``tags`` of timm's weights with the default first."""

    name: str
    params: int
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tags: tuple[str, ...]


def names() -> list[str]:
    """List the names of timm's encoders, sorted."""
    return list(_TABLE["encoders"])


def lookup(name: str) -> Row | None:
    """Return the row of a timm name or an alias, with or without ``.tag``; ``None`` if there is no such encoder."""
    arch = resolve(name).partition(".")[0]
    if arch not in _TABLE["encoders"]:
        return None
    params, strides, channels, statistics, tags = _TABLE["encoders"][arch]
    mean, std = _TABLE["statistics"][statistics]
    return Row(arch, params, tuple(strides), tuple(channels), tuple(mean), tuple(std), tuple(tags))


def find(pattern: str = "") -> list[Row]:
    """Return the encoders whose name, or an alias of it, contains ``pattern`` or matches it as a shell pattern."""
    wanted = pattern.lower() if set("*?[") & set(pattern) else f"*{pattern.lower()}*"
    found = {name for name in _TABLE["encoders"] if fnmatchcase(name, wanted)}
    found |= {resolve(alias).partition(".")[0] for alias in ALIASES if fnmatchcase(alias, wanted)}
    rows = (lookup(name) for name in names() if name in found)
    return [row for row in rows if row is not None]
