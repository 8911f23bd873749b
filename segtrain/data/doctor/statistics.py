"""What a split holds in numbers: images, sizes, how often each class is drawn, mean and deviation of each band."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any, NamedTuple

from segtrain.data.doctor.content import Content
from segtrain.data.doctor.image_checks import FULL_RANGE
from segtrain.data.doctor.looking import Looked
from segtrain.data.files.inspection import ImageFacts
from segtrain.data.files.labels import LabelMap

_IGNORED = "ignored"
"""What `LabelMap.name_of` calls ignored values."""


class ClassCount(NamedTuple):
    """How often a label is drawn: pixels of it, and masks that hold it."""

    name: str
    pixels: int
    images: int


class Bands(NamedTuple):
    """Mean and standard deviation of each band over all pixels, on the scale where white is 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class SplitNumbers(NamedTuple):
    """The numbers of one split; sizes are ``(width, height)`` of the smallest, median and largest image by area.

    ``sides`` are the least and the greatest width, and those of height; nothing without images.
    ``uncounted`` are the images whose masks cannot be read as classes: ``classes`` and ``ignored`` are of the others.
    """

    images: int
    sizes: tuple[tuple[int, int], ...]
    sides: tuple[tuple[int, int], ...]
    classes: tuple[ClassCount, ...]
    ignored: int
    bands: Bands | None
    uncounted: int = 0

    @property
    def counted(self) -> int:
        """How many images the numbers of classes are of."""
        return self.images - self.uncounted

    def plain(self) -> dict[str, Any]:
        """Return it as dicts and lists, for JSON."""
        return {
            "images": self.images,
            "sizes": [list(size) for size in self.sizes],
            "sides": [list(ends) for ends in self.sides],
            "classes": {row.name: {"pixels": row.pixels, "images": row.images} for row in self.classes},
            "ignored_pixels": self.ignored,
            "uncounted": self.uncounted,
            "bands": self.bands and {"mean": list(self.bands.mean), "std": list(self.bands.std)},
        }


def is_countable(looked: Looked, labels: LabelMap) -> bool:
    """Tell whether all masks of an image could be read, and every value in them has a label."""
    masks = [facts for mask, facts in zip(looked.pair.masks, looked.masks, strict=True) if mask is not None]
    return all(facts is not None and not labels.unknown(facts.counts) for facts in masks)


def count_classes(
    looked: Sequence[Looked], labels: LabelMap, class_names: Sequence[str], *, by_class: bool
) -> tuple[list[ClassCount], int]:
    """Count the pixels and masks of each label, and the ignored pixels.

    ``by_class``: each class has masks of its own, of 0 and 1; its count is that of 1 in these.
    """
    pixels: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for each in looked:
        drawn = _pixels_of(each, labels, class_names if by_class else None)
        pixels.update(drawn)
        images.update(name for name, count in drawn.items() if count)
    names = class_names if by_class else labels.label_names
    return [ClassCount(name, pixels[name], images[name]) for name in names], pixels[_IGNORED]


def _pixels_of(looked: Looked, labels: LabelMap, columns: Sequence[str] | None) -> Counter[str]:
    """Count the pixels of each name in the masks of an image; ``columns`` names these, where each is of a class."""
    found: Counter[str] = Counter()
    for column, facts in enumerate(looked.masks):
        for value, count in (facts.counts if facts else {}).items():
            name = labels.name_of(value)
            if columns and name != _IGNORED:
                name = columns[column] if labels.label_of(value) == 1 else ""
            found[name] += count
    return found


def band_statistics(
    images: Iterable[tuple[ImageFacts, Content]], value_range: tuple[float, float] | None
) -> Bands | None:
    """Pool mean and deviation of each band over the pixels of all images; None where their bands differ in number.

    They are on the scale of ``encoder.mean`` and ``encoder.std``: black is 0, white is 1.
    """
    total = 0
    sums: list[float] = []
    squares: list[float] = []
    for facts, content in images:
        scale, black = _scale(facts.dtype, value_range)
        size = facts.height * facts.width
        scaled = [((band.mean - black) / scale, band.std / scale) for band in content.bands]
        sums, squares = sums or [0.0] * len(scaled), squares or [0.0] * len(scaled)
        if len(scaled) != len(sums):
            return None
        sums = [before + size * mean for before, (mean, _) in zip(sums, scaled, strict=True)]
        squares = [before + size * (std**2 + mean**2) for before, (mean, std) in zip(squares, scaled, strict=True)]
        total += size
    if not total:
        return None
    means = tuple(each / total for each in sums)
    # E[x²] - E[x]², in double precision of numbers around 1
    return Bands(means, tuple(sqrt(max(0.0, s / total - m * m)) for s, m in zip(squares, means, strict=True)))


def _scale(dtype: str, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Return the span from black to white, and black."""
    if value_range:
        return value_range[1] - value_range[0], value_range[0]
    return {"uint8": 255.0, **FULL_RANGE}[dtype], 0.0


def sizes_of(images: Iterable[ImageFacts]) -> tuple[tuple[int, int], ...]:
    """Return (width, height) of the smallest, the median and the largest image by area; nothing without images."""
    found = sorted(((facts.width, facts.height) for facts in images), key=lambda size: size[0] * size[1])
    return (found[0], found[(len(found) - 1) // 2], found[-1]) if found else ()


def sides_of(images: Iterable[ImageFacts]) -> tuple[tuple[int, int], ...]:
    """Return the least and greatest width, and the least and greatest height; nothing without images."""
    sides = zip(*((facts.width, facts.height) for facts in images), strict=True)
    return tuple((min(lengths), max(lengths)) for lengths in sides)


def encoder_line(bands: Bands) -> str:
    """Write the words that make an encoder normalise by these numbers."""
    mean, std = (",".join(f"{value:.4f}" for value in each) for each in (bands.mean, bands.std))
    return f"'encoder.mean=[{mean}]' 'encoder.std=[{std}]'"
