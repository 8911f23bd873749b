"""Translation of mask values to labels, and the remedy to suggest for values without a label."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.class_map import COLOURS, VALUES, ClassMap, parse, unpack
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

UNKNOWN = 254
"""The label of values without one; 255 is `IGNORE_INDEX`, so that at most 254 classes fit."""

MANY = 32  # with more distinct values than this, a mask looks like a photo or an interpolated mask
INEXACT = "label values must be exact: was it saved as JPEG, or resized with interpolation? Save it as PNG"
"""The remedy for a mask that holds values between the labels."""


class LabelMap:
    """Translates mask values to labels: by ``class_map``, else value n is label n; ``ignore`` values to 255.

    Values not in a ``class_map`` have no label. If its keys are colours, ``by_colour`` is true, and
    masks are to be read as colours, palettes included. Raises `ConfigError` for labels out of range.
    """

    def __init__(
        self, label_names: Sequence[str], *, ignore: Sequence[int] = (), class_map: ClassMap | None = None
    ) -> None:
        self.label_names = tuple(label_names)
        self.ignore = frozenset(ignore)
        self.mapped = class_map is not None
        count = len(label_names)
        if count > UNKNOWN:
            raise ConfigError(f"data.classes: {count} label values, expected at most {UNKNOWN}")
        parsed = parse({value: value for value in range(count)} if class_map is None else class_map, label_names)
        self.by_colour = parsed.by_colour
        if any(not 0 <= value < VALUES for value in ignore):
            raise ConfigError(f"data.ignore_index: {list(ignore)}, expected mask values 0..{VALUES - 1}")
        if ignore and self.by_colour:
            raise ConfigError(
                "data.ignore_index: is for values, data.class_map has colours; map theirs to ignore there"
            )
        self._named = {(entry.first, entry.last): entry.label for entry in parsed.entries}
        self._named |= {(value, value): IGNORE_INDEX for value in ignore}
        self._other = parsed.other
        # lookup table value -> label, (2**16,) or (2**24,) of uint8
        self.table = np.full(COLOURS if self.by_colour else VALUES, UNKNOWN, np.uint8)
        if parsed.other is not None:
            self.table[:] = parsed.other
        # widest first: within a range, a value or a narrower range has a label of its own
        for (first, last), label in sorted(self._named.items(), key=lambda entry: entry[0][0] - entry[0][1]):
            self.table[first : last + 1] = label

    @property
    def expected(self) -> str:
        """The expected values and names, for messages: ``0..2 (background, cat, dog)`` or ``255 (cat)``."""
        if not self.mapped:
            return f"0..{len(self.label_names) - 1} ({listing(self.label_names)})"
        names = {label: f" ({name})" for label, name in enumerate(self.label_names)}
        return listing(f"{value}{names.get(label, '')}" for value, label in self.pairs().items())

    def __call__(self, mask: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Translate a mask ``(H, W)`` to labels of uint8; `UNKNOWN` where a value has none."""
        by_byte = mask.dtype == np.uint8  # cv2.LUT takes bytes alone, several times faster than indexing
        return np.asarray(cv2.LUT(mask, self.table[: 2**8]) if by_byte else self.table[mask], np.uint8)

    def unknown(self, values: Iterable[int]) -> list[int]:
        """Return the values that have no label, sorted."""
        return [value for value in sorted(values) if self.table[value] == UNKNOWN]

    def absent(self, values: Iterable[int]) -> list[str]:
        """Return the names of the labels that none of the values stands for."""
        present = {int(self.table[value]) for value in values}
        return [name for label, name in enumerate(self.label_names) if label not in present]

    def label_of(self, value: int) -> int | None:
        """Return the label of a value, 255 if ignored, None if it has none."""
        label = int(self.table[value])
        return None if label == UNKNOWN else label

    def name_of(self, value: int) -> str:
        """Return the name of a value's label, ``ignored``, or ``nothing`` without a label."""
        label = self.label_of(value)
        if label is None:
            return "nothing"
        return "ignored" if label == IGNORE_INDEX else self.label_names[label]

    def pairs(self) -> dict[int | str, int]:
        """Return the translation as a class map: value, range or colour to label, 255 if ignored."""
        found: dict[int | str, int] = {}
        for (first, last), label in sorted(self._named.items()):
            found[self.text(first) if first == last else f"{first}-{last}"] = label
        return found if self._other is None else {**found, "other": self._other}

    def values(self) -> tuple[int | tuple[int, int, int], ...]:
        """Return the value, or the colour, that stands for each label in a file: the inverse of the map.

        Of several it is the first that the map names; of those that only ``other`` covers, the lowest.
        Labels that no value stands for get the lowest that stand for nothing, or else that are ignored.
        """
        found = [self._value_of(label) for label in range(len(self.label_names))]
        if None in found:
            free = chain.from_iterable(np.flatnonzero(self.table == label) for label in (UNKNOWN, IGNORE_INDEX))
            found = [int(next(free)) if value is None else value for value in found]
        return tuple(unpack(value) if self.by_colour else value for value in found if value is not None)

    def _value_of(self, label: int) -> int | None:
        """Return the first value of a label; None where it has none."""
        for first, last in self._named:
            held = np.flatnonzero(self.table[first : last + 1] == label)
            if len(held):
                return first + int(held[0])
        covered = self.table == label  # by ``other``
        return int(covered.argmax()) if covered.any() else None

    def text(self, value: int) -> int | str:
        """Write a value as a key of a class map; a colour is ``128-64-0``."""
        return "-".join(map(str, unpack(value))) if self.by_colour else value

    def describe(self) -> str:
        """Write the translation for the log: ``0 -> background, 255 -> cat, 7 -> ignored``."""
        names = {**dict(enumerate(self.label_names)), IGNORE_INDEX: "ignored"}
        return ", ".join(f"{value} -> {names[label]}" for value, label in self.pairs().items())

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return each value, range or colour of a class map, and the name of its label, or ``ignore``."""
        names = {**dict(enumerate(self.label_names)), IGNORE_INDEX: "ignore"}
        return tuple((str(value), names[label]) for value, label in self.pairs().items()) if self.mapped else ()

    def remedy(self, counts: Mapping[int, int], class_names: Sequence[str]) -> str:
        """Suggest options that give a label to every value, from the pixel counts of all masks together.

        Never suggests ignoring values that may be a class without naming the alternative; numbers
        values in their order only if they are in even steps.
        """
        count = len(self.label_names)
        held = sorted(set(counts) - self.ignore)
        unknown = self.unknown(held)
        lacks_background = tuple(class_names) == self.label_names and "background" not in class_names
        if self.by_colour:
            return self.fill_in(held)
        if len(held) > max(MANY, 2 * count):  # interpolated, or lossy
            is_soft = count == 2 and held[0] == 0 and held[-1] == IGNORE_INDEX
            return THRESHOLD if is_soft else INEXACT
        # 255 alone has no label: the usual value for ignored, unless it ends even steps from 0
        if unknown == [IGNORE_INDEX] and len(held) > 2 and not _is_in_steps(held):
            return f"add {_skip({*self.ignore, IGNORE_INDEX})}"
        # values 0..n for n classes: most likely the background has been left out of data.classes
        if unknown == [count] and held[0] == 0 and lacks_background and not self.mapped:
            background = _with_background(class_names)
            return f"set {background} if 0 is background, or {_skip({*self.ignore, count})} if {count} does not count"
        if not self.mapped and (classes := self._with_more_classes(held, unknown, class_names)):
            skip = _skip({*self.ignore, *unknown})
            if len(unknown) == 1:
                return f"{classes}, or fix the mask if {count} is in few, or set {skip} if {count} does not count"
            return f"{classes}, or set {skip} if these do not count"
        if len(unknown) == 1 and len(held) > max(2, count) and not self.mapped:
            skip = _skip({*self.ignore, *unknown})
            return f"fix the mask if {unknown[0]} is in few, or set {skip} if {unknown[0]} does not count"
        return self._map_for(held, class_names, lacks_background=lacks_background)

    def _with_more_classes(self, held: Sequence[int], unknown: Sequence[int], class_names: Sequence[str]) -> str | None:
        """Suggest names for the values that follow on the last named one; None where they do not follow."""
        count = len(self.label_names)
        goes_on = list(unknown) == list(range(count, count + len(unknown)))
        if not goes_on or not unknown or len(held) <= max(2, count) or self.label_names[-1] != class_names[-1]:
            return None
        names = ",".join([*self.label_names, *"?" * len(unknown)])
        return f"name {listing(unknown)} where a class is missing: write that for ? in 'data.classes=[{names}]'"

    def _map_for(self, held: Sequence[int], class_names: Sequence[str], *, lacks_background: bool) -> str:
        """Suggest the class map that translates these values."""
        count = len(self.label_names)
        if len(held) == count:
            return self._in_order(held)
        if IGNORE_INDEX in held and len(held) == count + 1:  # as many as labels, and 255 for ignored
            return f"{self._in_order(held[:-1])} {_skip({*self.ignore, IGNORE_INDEX})}"
        if len(held) == count + 1 and held[0] == 0 and lacks_background:  # one more, for background
            names = ("background", *class_names)
            return f"set {_with_background(class_names)} and {self._in_order(held, names)}"
        return self.fill_in(held)

    def _in_order(self, held: Sequence[int], names: Sequence[str] = ()) -> str:
        """Suggest a class map that numbers values in their order if in even steps, else one to fill in."""
        if not _is_in_steps(held):
            return self.fill_in(held, names)
        return f"add {_as_map(held, range(len(held)))}"

    def fill_in(self, held: Sequence[int], names: Sequence[str] = ()) -> str:
        """Suggest a class map with a ? for each value whose label cannot be inferred."""
        shown = held[:SHOWN]
        if self.mapped:  # keep what the user has mapped
            words = {IGNORE_INDEX: "ignore", None: "?"}
            known = [self.label_of(value) for value in shown]
            labels = [words.get(label, str(label)) for label in known]
        else:
            usual = {0: "0", IGNORE_INDEX: "ignore"}
            labels = [usual.get(value, "?") for value in shown]
        texts = [self.text(value) for value in shown]
        rest = ", ..." if len(held) > SHOWN else ""
        choices = listing((f"{label} {name}" for label, name in enumerate(names or self.label_names)), most=6)
        return f"write a label for each ? ({choices}, or ignore) in {_as_map(texts, labels, rest)}"


THRESHOLD = (
    "its edges are soft: split them with 'data.class_map={0-127: 0, 128-255: 1}', or save masks without interpolation"
)
"""The remedy for a black and white mask with grays between them."""
SHOWN = 12  # entries of a suggested class map that the user fills in


def _is_in_steps(held: Sequence[int]) -> bool:
    """Tell whether values look like labels in order: consecutive, or 0 to 255 in equal steps."""
    count = len(held) - 1  # of steps
    step = (held[-1] - held[0]) / max(1, count)
    if step == 1 or (held[0] == 0 and count == 1):
        return True
    # within 1 of k * step: 0, 127, 255 are three labels spread over a byte and rounded
    even = all(abs(value - step * number) <= 1 for number, value in enumerate(held))
    return even and held[-1] in (254, 255)


def _with_background(class_names: Sequence[str]) -> str:
    return f"'data.classes=[background,{','.join(class_names)}]'"


def _as_map(values: Iterable[object], labels: Iterable[object], rest: str = "") -> str:
    pairs = ", ".join(f"{value}: {label}" for value, label in zip(values, labels, strict=True))
    return f"'data.class_map={{{pairs}{rest}}}'"


def _skip(values: Iterable[int]) -> str:
    """Write the override that ignores these values, quoted for a shell."""
    found = sorted(values)
    if len(found) == 1:
        return f"data.ignore_index={found[0]}"
    return f"'data.ignore_index=[{','.join(map(str, found))}]'"


def listing(items: Iterable[object], *, most: int = 8) -> str:
    """Join items with commas; a list of more than ``most`` has an ellipsis before its last item."""
    texts = [str(item) for item in items]
    if len(texts) > most:
        texts = [*texts[: most - 2], "...", texts[-1]]
    return ", ".join(texts)
