"""The values that mask files hold, the labels they stand for, and what to type where the two do not meet."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

UNKNOWN = 254
"""What values without a label are translated to."""

VALUES = 2**16
MANY = 32
INEXACT = "label values must be exact: was it saved as JPEG, or resized with interpolation? Save it as PNG"
"""What to say of a mask that holds values between the labels."""


class LabelMap:
    """Translates file values into labels: their own number, unless ``class_map`` names them; ``ignore`` values to 255.

    With a ``class_map``, values that it does not name have no label. Raises `ConfigError` on labels out of range.
    """

    def __init__(
        self, label_names: Sequence[str], *, ignore: Sequence[int] = (), class_map: Mapping[int, int] | None = None
    ) -> None:
        self.label_names = tuple(label_names)
        self.ignore = frozenset(ignore)
        self.mapped = class_map is not None
        count = len(label_names)
        if count > UNKNOWN:
            raise ConfigError(f"data.classes: {count} label values, expected at most {UNKNOWN}")
        pairs = {value: value for value in range(count)} if class_map is None else dict(class_map)
        for value, label in pairs.items():
            if not 0 <= value < VALUES or label not in (*range(count), IGNORE_INDEX):
                raise ConfigError(
                    f"data.class_map: {value} -> {label}, expected values 0..{VALUES - 1} and labels 0..{count - 1} "
                    f"({listing(label_names)}), or {IGNORE_INDEX} for pixels to ignore"
                )
        if any(not 0 <= value < VALUES for value in ignore):
            raise ConfigError(f"data.ignore_index: {list(ignore)}, expected mask values 0..{VALUES - 1}")
        self._table = np.full(VALUES, UNKNOWN, np.uint8)
        self._table[list(pairs)] = list(pairs.values())
        self._table[list(ignore)] = IGNORE_INDEX

    @property
    def expected(self) -> str:
        """Values and names, for messages: ``0..2 (background, cat, dog)``, or ``0 (background), 255 (cat)``."""
        if not self.mapped:
            return f"0..{len(self.label_names) - 1} ({listing(self.label_names)})"
        names = {label: f" ({name})" for label, name in enumerate(self.label_names)}
        return listing(f"{value}{names.get(label, '')}" for value, label in self.pairs().items())

    def __call__(self, mask: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Translate a mask ``(H, W)``; `UNKNOWN` where a value has no label."""
        by_byte = mask.dtype == np.uint8
        return np.asarray(cv2.LUT(mask, self._table[: 2**8]) if by_byte else self._table[mask], np.uint8)

    def unknown(self, values: Iterable[int]) -> list[int]:
        """Pick the values that have no label."""
        return [value for value in sorted(values) if self._table[value] == UNKNOWN]

    def absent(self, values: Iterable[int]) -> list[str]:
        """Name the labels that none of the values stands for."""
        present = {int(self._table[value]) for value in values}
        return [name for label, name in enumerate(self.label_names) if label not in present]

    def pairs(self) -> dict[int, int]:
        """List the label of every value that has one, 255 where it is ignored."""
        return {int(value): int(self._table[value]) for value in np.flatnonzero(self._table != UNKNOWN)}

    def describe(self) -> str:
        """Lay the translation out for the log: ``0 -> background, 255 -> cat, 7 -> ignored``."""
        names = {**dict(enumerate(self.label_names)), IGNORE_INDEX: "ignored"}
        return ", ".join(f"{value} -> {names[label]}" for value, label in self.pairs().items())

    def remedy(self, values: Collection[int], class_names: Sequence[str]) -> str:
        """Say what to type when all masks together hold these values."""
        count = len(self.label_names)
        held = sorted(set(values) - self.ignore)
        unknown = self.unknown(held)
        in_order = f"'data.class_map={{{', '.join(f'{value}: {label}' for label, value in enumerate(held))}}}'"
        with_background = f"'data.classes=[background,{','.join(class_names)}]'"
        skip = _skip(sorted({*self.ignore, *unknown}))
        lacks_background = tuple(class_names) == self.label_names and "background" not in class_names
        if len(held) > max(MANY, 2 * count):
            return INEXACT
        if self.mapped and len(held) == count:
            return f"add {in_order}"
        if unknown == [IGNORE_INDEX] and len(held) > 2:
            return f"add {skip}"
        if unknown == [count] and held[0] == 0 and lacks_background:
            return f"set {with_background} if 0 is background, or {skip} if {count} does not count"
        if len(unknown) == 1 and len(held) > 2 and not self.mapped:
            return f"mend the mask if {unknown[0]} is in few, or set {skip} if {unknown[0]} does not count"
        if len(held) == count:
            return f"add {in_order}"
        if len(held) == count + 1 and held[0] == 0 and lacks_background:
            return f"set {with_background} {in_order}"
        named = "name each value in data.classes, " if set(class_names) <= set(self.label_names) else ""
        return f"{named}translate with data.class_map, or skip with {skip}"


def _skip(values: Sequence[int]) -> str:
    """Write the key that ignores these values, as it is typed."""
    if len(values) == 1:
        return f"data.ignore_index={values[0]}"
    return f"'data.ignore_index=[{','.join(map(str, values))}]'"


def listing(items: Iterable[object], *, most: int = 8) -> str:
    """Write items with commas, the middle of a long list left out."""
    texts = [str(item) for item in items]
    if len(texts) > most:
        texts = [*texts[: most - 2], "...", texts[-1]]
    return ", ".join(texts)
