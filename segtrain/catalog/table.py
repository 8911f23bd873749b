"""Layout of the table of encoders for the width of a terminal."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from segtrain.catalog.index import Row, Tag

_GAP = "  "
_LONGEST = 32  # characters of a cell, except names, which users copy
_STATISTICS: Mapping[tuple[Sequence[float], Sequence[float]], str] = {
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "imagenet",
    ((0.481455, 0.457827, 0.408211), (0.26863, 0.261303, 0.275777)): "clip",
}


class _Column(NamedTuple):
    header: str
    text: Callable[[Row], str]
    number: bool = False


_COLUMNS = (
    _Column("encoder", lambda row: row.name),
    _Column("params", lambda row: quantity(row.params), number=True),
    _Column("MACs", lambda row: quantity(row.macs), number=True),
    _Column("strides", lambda row: _strides(row.strides[1:])),
    _Column("channels", lambda row: numbers(row.channels[1:])),
    _Column("weights", lambda row: _weights(row.tags)),
    _Column("mean/std", lambda row: statistics(*(row.tags[0][1:3] if row.tags else (row.mean, row.std)))),
    _Column("licence", lambda row: row.tags[0].licence if row.tags else ""),
)
_IMPORTANCE = ("encoder", "params", "MACs", "weights", "channels", "strides", "licence", "mean/std")
"""Columns by importance: a narrow terminal shows those that fit, taken in this order."""


def layout(rows: Sequence[Row], width: int, *, also: Mapping[str, Sequence[str]]) -> list[str]:
    """Lay out a line per encoder in at most ``width`` characters, with notes on the columns below.

    ``also`` are other names of encoders; they stand behind a row, or below it where there is no room.
    Names are never cut: a line may be wider than ``width`` because of one.
    """
    columns = {column.header: _cells(column, rows) for column in _COLUMNS}
    shown = _fitting({header: max(map(len, cells)) for header, cells in columns.items()}, width)
    right = {shown.index(column.header) for column in _COLUMNS if column.number and column.header in shown}
    header, *body = aligned(list(zip(*(columns[name] for name in shown), strict=True)), right=right)
    lines = [header]
    for row, line in zip(rows, body, strict=True):
        lines += _with_names(line, also.get(row.name, ()), width)
    named = set(columns["mean/std"]) if "mean/std" in shown else set()
    notes = _notes(named, [name for name in columns if name not in shown])
    return [*lines, "", *(line for note in notes for line in textwrap.wrap(note, width))]


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Align the cells of rows in columns, those numbered in ``right`` to the right."""
    columns = []
    for number, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        is_right = number in right
        columns.append([cell.rjust(width) if is_right else cell.ljust(width) for cell in column])
    return [_GAP.join(cells).rstrip() for cells in zip(*columns, strict=True)]


def quantity(number: float) -> str:
    """Write a number with three digits and its unit, such as 21.3M."""
    # bounds where rounding adds a digit: 999.6K is 1.00M, 9.996 is 10.0
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{decimals}f}{unit}"
    return str(int(number))


def statistics(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the name of a mean and standard deviation, such as imagenet, or their numbers."""
    name = _STATISTICS.get((tuple(mean), tuple(std)))
    return name or "/".join(_short(values) for values in (mean, std))


def numbers(values: Iterable[float]) -> str:
    """Write numbers with spaces between them, at most six digits each."""
    return " ".join(f"{value:g}" for value in values)


def _cells(column: _Column, rows: Sequence[Row]) -> list[str]:
    texts = [column.header, *(column.text(row) for row in rows)]
    if column.header == "encoder":
        return texts
    return [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in texts]


def _fitting(widths: Mapping[str, int], width: int) -> list[str]:
    """Choose the columns that fit, by importance; the names always, even if too wide."""
    chosen = {_IMPORTANCE[0]}
    left = width - widths[_IMPORTANCE[0]]
    for header in _IMPORTANCE[1:]:
        needed = len(_GAP) + widths[header]
        if needed <= left:
            chosen.add(header)
            left -= needed
    return [header for header in widths if header in chosen]


def _with_names(line: str, names: Sequence[str], width: int) -> list[str]:
    if not names:
        return [line]
    suffix = f"{_GAP}= {', '.join(names)}"
    return [line + suffix] if len(line + suffix) <= width else [line, suffix]


def _notes(named: Collection[str], hidden: Sequence[str]) -> list[str]:
    notes = ["MACs: for an image of 256x256; +6: six more weights, which `segtrain zoo <arch> <encoder>` lists"]
    notes += [
        f"{name}: mean {numbers(mean)}, std {numbers(std)}, of images from 0 to 1"
        for (mean, std), name in _STATISTICS.items()
        if name in named
    ]
    return [*notes, f"no room for: {', '.join(hidden)}"] if hidden else notes


def _strides(strides: Sequence[int]) -> str:
    """Write ``4..32`` for three or more strides that double, else list them."""
    doubled = [strides[0] * 2**i for i in range(len(strides))]
    doubling = doubled == list(strides) and len(strides) > 2
    return f"{strides[0]}..{strides[-1]}" if doubling else numbers(strides)


def _weights(tags: Sequence[Tag]) -> str:
    more = f" +{len(tags) - 1}" if len(tags) > 1 else ""
    return tags[0].name + more if tags else "none"


def _short(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else " ".join(f"{value:.3g}" for value in values)
