"""The language of ``class_map``: values, ranges and colours of mask files, and the labels they stand for."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from segtrain.config.suggest import nearest
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

ClassMap: TypeAlias = Mapping[int | str, int | str]
"""Such as ``{0: 0, 8: cat, other: ignore}``, ``{0-127: 0, 128-255: 1}`` or ``{0-0-0: 0, 128-64-0: 1}``."""

OTHER, IGNORE = "other", "ignore"
VALUES = 2**16
COLOURS = 2**24


class Entry(NamedTuple):
    """The values ``first`` to ``last`` of files stand for a label; colours are ``(red * 256 + green) * 256 + blue``."""

    first: int
    last: int
    label: int


class ParsedMap(NamedTuple):
    """Entries, the label of all other values if these have one, and whether values are colours."""

    entries: tuple[Entry, ...]
    other: int | None
    by_colour: bool


def parse(class_map: ClassMap, label_names: Sequence[str]) -> ParsedMap:
    """Read a map to labels: numbers below the count of ``label_names``, these names, or the word ``ignore``.

    Raises `ConfigError` for anything else.
    """
    by_colour = any(re.fullmatch(r"\d+-\d+-\d+", str(key)) for key in class_map)
    entries, other = [], None
    for key, word in class_map.items():
        label = _label(key, word, label_names)
        if key == OTHER:
            other = label
        else:
            entries.append(Entry(*_ends(key, by_colour=by_colour), label))
    return ParsedMap(tuple(entries), other, by_colour)


def _label(key: int | str, word: int | str, label_names: Sequence[str]) -> int:
    if word == IGNORE:
        return IGNORE_INDEX
    if isinstance(word, int) and word in (*range(len(label_names)), IGNORE_INDEX):
        return word
    if str(word) in label_names:
        return label_names.index(str(word))
    if near := nearest(str(word), [*label_names, IGNORE]):
        raise ConfigError(f"data.class_map: {key} -> {word}: no class of that name, did you mean {near!r}?")
    names = ", ".join(label_names[:6]) + (", ..." if len(label_names) > 6 else "")
    raise ConfigError(
        f"data.class_map: {key} -> {word}, expected labels 0..{len(label_names) - 1} or their names ({names}), or "
        "ignore for pixels that do not count"
    )


def _ends(key: int | str, *, by_colour: bool) -> tuple[int, int]:
    numbers = [int(part) for part in str(key).split("-")] if re.fullmatch(r"\d+(-\d+)*", str(key)) else []
    if by_colour and len(numbers) == 3 and max(numbers) < 2**8:
        value = pack(numbers)
        return value, value
    if not by_colour and len(numbers) in (1, 2) and numbers == sorted(numbers) and numbers[-1] < VALUES:
        return numbers[0], numbers[-1]
    expected = "colours such as 128-64-0" if by_colour else f"values 0..{VALUES - 1}, ranges such as 0-127,"
    raise ConfigError(f"data.class_map: {key}, expected {expected} or the word {OTHER}")


def pack(colour: Sequence[int]) -> int:
    """Make one number of a colour."""
    red, green, blue = colour
    return (red * 256 + green) * 256 + blue


def unpack(value: int) -> tuple[int, int, int]:
    """Undo `pack`."""
    return value >> 16, value >> 8 & 255, value & 255
