"""Filters for the table of encoders, as typed after ``segtrain zoo``: ``max_params=30M arch=fpn``."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from segtrain.catalog.index import LICENCES, Row, Tag
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SORTS: Mapping[str, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "params": lambda row: row.params,
    "macs": lambda row: row.macs,
}
_DEMANDS: Mapping[str, Callable[[Row], bool]] = {
    "dpt": lambda row: row.plain,
    "deeplabv3": lambda row: 0 < row.dilates <= 8,
    "deeplabv3plus": lambda row: row.dilates > 0 and 4 in row.strides,
    "pan": lambda row: row.dilates > 0,
    "fpn": lambda row: len(row.strides) >= 4,
    "pspnet": lambda row: any(1 < stride <= 8 for stride in row.strides),
    "upernet": lambda row: sum(stride >= 4 for stride in row.strides) >= 2,
}
"""The requirement of an architecture with its default options on an encoder; others take all."""


@dataclass(frozen=True)
class Filters:
    """Conditions on rows, and their order; ``None`` is no condition.

    ``licence`` is a shell pattern: rows keep only weights under such a licence; rows without any are
    left out.
    """

    arch: str | None = None
    pretrained: bool | None = None
    licence: str | None = None
    max_params: float | None = None
    max_macs: float | None = None
    sort: str = "name"

    def apply(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that pass, sorted."""
        if self.licence is not None:
            rows = (row._replace(tags=_licensed(row, self.licence)) for row in rows)
        return sorted((row for row in rows if self._accepts(row)), key=_SORTS[self.sort])

    def _accepts(self, row: Row) -> bool:
        return (
            (self.arch is None or suits(self.arch, row))
            and (self.pretrained is None or bool(row.tags) == self.pretrained)
            and (self.licence is None or bool(row.tags))
            and (self.max_params is None or row.params <= self.max_params)
            and (self.max_macs is None or row.macs <= self.max_macs)
        )


def suits(arch: str, row: Row) -> bool:
    """Tell whether an architecture with its default options takes an encoder."""
    return arch not in _DEMANDS or _DEMANDS[arch](row)


def parse(words: Sequence[str], *, archs: Sequence[str]) -> Filters:
    """Parse ``key=value`` words; raises ``ConfigError`` with a line for each that is no filter."""
    readers: dict[str, Callable[[str], Any]] = {
        "arch": lambda text: _one_of(text, archs),
        "pretrained": lambda text: _one_of(text, ("true", "false")) == "true",
        "licence": _licence,
        "max_params": _number,
        "max_macs": _number,
        "sort": lambda text: _one_of(text, _SORTS),
    }
    assert list(readers) == [field.name for field in fields(Filters)]  # a new filter needs its reader
    values, problems = {}, []
    for word in words:
        key, _, text = word.partition("=")
        key = {"license": "licence"}.get(key, key)  # either spelling
        if key not in readers:
            problems.append(f"zoo {word}: unknown filter{did_you_mean(key, readers)}")
            continue
        try:
            values[key] = readers[key](text)
        except ValueError as error:
            problems.append(f"zoo {word}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return Filters(**values)


def _licensed(row: Row, pattern: str) -> tuple[Tag, ...]:
    return tuple(tag for tag in row.tags if fnmatchcase(tag.licence.lower(), pattern))


def _one_of(text: str, choices: Iterable[str]) -> str:
    known = list(choices)
    if text not in known:
        raise ValueError(f"expected one of {', '.join(known)}{did_you_mean(text, known, listed=0)}")
    return text


def _licence(text: str) -> str:
    """Return the pattern in lower case; raises ValueError where no weights match it, a typing error."""
    pattern = text.lower()
    if not any(fnmatchcase(licence.lower(), pattern) for licence in LICENCES):
        near = did_you_mean(text, LICENCES, listed=len(LICENCES))
        raise ValueError(f"no weights have this licence{near}")
    return pattern


def _number(text: str) -> float:
    """Parse ``30M`` or ``4.5G``; the units are powers of 1000."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)([KMGT]?)", text.upper())
    if match is None:
        raise ValueError("expected a number such as 30M or 4.5G")
    return float(match[1]) * _UNITS[match[2]]
