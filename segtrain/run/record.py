"""What a run folder says of its run, read back, and what differs between two of them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.differing import ABSENT, differing
from segtrain.config.renamed import with_current_names
from segtrain.errors import ConfigError
from segtrain.run.environment import FILE, read_starts
from segtrain.storage import read_text

CONFIG = "config.yaml"
"""The file that makes a folder a run's."""
_HASH = re.compile(r"[0-9a-f]{40,}")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as safe, ten times as fast, where libyaml is there
_SHOWN = 12  # digits of a hash
_NOT_COMPARED = ("started", "step")
"""Of a start: when it was, and where the run was then."""


@dataclass(frozen=True)
class Record:
    """A run as its folder tells it: its config with current names, its words and its environment at each start."""

    folder: Path
    config: dict[str, Any]
    words: list[str]
    starts: list[dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, *, key: str) -> "Record":
        """Read a run folder; raises `ConfigError`, naming the key that chose it, where it holds no run."""
        file = folder / CONFIG
        held = yaml.load(read_text(file), _LOADER) if file.is_file() else None
        if not isinstance(held, dict):
            raise ConfigError(
                f"{key}={folder}: holds no config.yaml of a run, expected a run folder; give outputs/<name>/<time>"
            )
        words = folder / "overrides.txt"
        return cls(
            folder=folder,
            config=with_current_names(held),
            words=read_text(words).splitlines() if words.is_file() else [],
            starts=read_starts(folder),
        )


def differences(a: Record, b: Record) -> Iterator[str]:
    """Yield a line for each value that differs between two runs: config, words of each start, environment at the last.

    Environments are not compared where a run has none.
    """
    yield from _lines(a.config, b.config)
    for number, (mine, theirs) in enumerate(zip_longest(a.words, b.words, fillvalue=ABSENT), 1):
        if mine != theirs:
            yield f"words of start {number}: {_both(mine, theirs)}"
    for name, record in (("A", a), ("B", b)):
        if not record.starts:
            yield f"environment: {name} has no {FILE}, as an earlier version of segtrain made it; it is not compared"
    if a.starts and b.starts:
        yield from environment_differences(a.starts[-1], b.starts[-1])


def environment_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value that differs between the environments of two starts."""
    mine, theirs = ({key: value for key, value in start.items() if key not in _NOT_COMPARED} for start in (a, b))
    yield from _lines(mine, theirs)


def _lines(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for key, mine, theirs in differing(a, b):
        yield f"{key}: {_both(mine, theirs)}"


def _both(a: Any, b: Any) -> str:
    return f"A {_shown(a)}, B {_shown(b)}"


def _shown(value: Any) -> str:
    """Write a value as in YAML, in one line."""
    if value is ABSENT:
        return "has none"
    if isinstance(value, str) and _HASH.fullmatch(value):
        return value[:_SHOWN]
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**20, allow_unicode=True)
    return text.removesuffix("...\n").strip()
