"""Parser of ``class_map``, which maps values, ranges and colours in mask files to labels."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from segtrain.errors import ConfigError
from segtrain.suggest import nearest
from segtrain.task import IGNORE_INDEX

ClassMap: TypeAlias = Mapping[int | str, int | str]
"""Such as ``{0: 0, 8: cat, other: ignore}``, ``{0-127: 0, 128-255: 1}`` or ``{0-0-0: 0, 128-64-0: 1}``."""

OTHER, IGNORE = "other", "ignore"
VALUES = 2**16  # of masks of 8 or 16 bits
COLOURS = 2**24  # of 8-bit RGB


class Entry(NamedTuple):
    """A range of file values, ``first`` to ``last`` inclusive, and its label; colours as `pack` encodes them."""

    first: int
    last: int
    label: int


class ParsedMap(NamedTuple):
    """The entries, the label of ``other`` values (None without one), and whether keys are colours."""

    entries: tuple[Entry, ...]
    other: int | None
    by_colour: bool


def parse(class_map: ClassMap, label_names: Sequence[str]) -> ParsedMap:
    """Parse a class map; its labels are numbers, names in ``label_names``, or the word ``ignore``.

    Raises `ConfigError` for anything else.
    """
    # one key that is a colour makes all of them colours; `_ends` refuses the others
    by_colour = any(re.fullmatch(r"\d+-\d+-\d+", str(key)) for key in class_map)
    entries, other = [], None
    for key, word in class_map.items():
        label = _label(key, word, label_names)
        if key == OTHER:
            other = label
        else:
            entries.append(Entry(*_ends(key, by_colour=by_colour), label))
    _refuse_overlaps(entries)
    return ParsedMap(tuple(entries), other, by_colour)


def _refuse_overlaps(entries: Sequence[Entry]) -> None:
    """Raise `ConfigError` for ranges that cross, as the label of the values that they share is open."""
    ordered = sorted(entries)
    for number, one in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if one.first < other.first <= one.last < other.last:
                raise ConfigError(
                    f"data.class_map: {one.first}-{one.last} and {other.first}-{other.last} share values, expected "
                    "ranges apart, or one within the other, which then has its own label; correct the ends"
                )


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
    """Parse a key, ``7``, ``0-127`` or ``128-64-0``, to its first and last value."""
    is_numeric = re.fullmatch(r"\d+(-\d+)*", str(key))
    numbers = [int(part) for part in str(key).split("-")] if is_numeric else []
    if by_colour and len(numbers) == 3 and max(numbers) < 2**8:
        value = pack(numbers)
        return value, value
    if not by_colour and len(numbers) in (1, 2) and numbers == sorted(numbers) and numbers[-1] < VALUES:
        return numbers[0], numbers[-1]
    expected = "colours such as 128-64-0" if by_colour else f"values 0..{VALUES - 1}, ranges such as 0-127,"
    raise ConfigError(f"data.class_map: {key}, expected {expected} or the word {OTHER}")


def with_colours(class_map: ClassMap | None, colours: Mapping[str, Sequence[int] | str] | None) -> ClassMap | None:
    """Return the class map of ``data.colors``, which gives the colour of each class: ``{road: [128, 64, 128]}``.

    A colour is three numbers, or ``128-64-128``; a name may be the word ``ignore``. Raises `ConfigError`
    for what is no colour, for a colour of two classes, and for a class map beside it.
    """
    if colours is None:
        return class_map
    if class_map is not None:
        raise ConfigError("data.colors: is a class map of colours, expected no data.class_map beside it; leave one out")
    found: dict[int | str, int | str] = {}
    for name, colour in colours.items():
        parts = colour.split("-") if isinstance(colour, str) else list(map(str, colour))
        if len(parts) != 3 or not all(part.isdecimal() and int(part) < 2**8 for part in parts):
            raise ConfigError(f"data.colors.{name}: {colour}, expected red, green and blue of 0..255: [128,64,128]")
        key = "-".join(str(int(part)) for part in parts)
        if key in found:
            raise ConfigError(f"data.colors: {found[key]} and {name} are both {key}, expected a colour for each")
        found[key] = name
    return found


def pack(colour: Sequence[int]) -> int:
    """Encode an RGB colour as one number, ``(red * 256 + green) * 256 + blue``."""
    red, green, blue = colour
    return (red * 256 + green) * 256 + blue


def unpack(value: int) -> tuple[int, int, int]:
    """Decode a number that `pack` made to ``(red, green, blue)``."""
    return value >> 16, value >> 8 & 255, value & 255
