"""Masks that are drawn while loading: the regions of an image that people have annotated with a tool."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.data.doctor.finding import first_few
from segtrain.data.files.rasterize import Box, Shape, Size, rasterize
from segtrain.errors import DataError

log = logging.getLogger(__name__)

Overlap: TypeAlias = Literal["last", "smallest", "ignore"]
"""Which region a pixel of several belongs to: the last drawn, the smallest, or none (it is ignored)."""
OnBad: TypeAlias = Literal["error", "skip"]
"""What a bad annotation or file is: an error, or left out and said."""
BACKGROUND = 0
"""The value of pixels in no region."""
IGNORED = 2**16 - 1
"""The value of pixels that do not count, as of a crowd; a `Legend` of drawings ignores it."""


class Region(NamedTuple):
    """One annotation: its value, its shape, and the name by which messages call it.

    One that lies ``beneath`` is painted before all others, as a crowd is beneath the persons in it.
    """

    value: int
    shape: Shape
    name: str
    beneath: bool = False


class Found(NamedTuple):
    """The regions of an image, and the annotations left out, a line each: which, what is wrong."""

    regions: Sequence[Region]
    problems: Sequence[str]


@dataclass(eq=False)
class Drawing:
    """The mask of an image as regions, drawn when it is asked for: a stand-in for a mask file.

    ``path`` is the file that holds the annotations, for messages. ``size`` is the ``(H, W)`` that the
    tool saw; None where it does not say. ``find`` returns the regions, given the image's size; it is
    called each time, so a file per image is read only then. ``stamp`` changes whenever they do.
    Pixels of no region are 0. ``only`` draws the regions of these values alone, as 1, and what is
    background or does not count: the mask of one class where classes overlap. A bad annotation is an
    error, or left out, as ``on_bad`` says.
    """

    path: Path
    find: Callable[[Size], Found]
    stamp: str
    size: Size | None = None
    overlap: Overlap = "last"
    only: frozenset[int] | None = None
    on_bad: OnBad = "error"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def suffix(self) -> str:
        """The suffix of the file, as of a path."""
        return self.path.suffix

    @property
    def name(self) -> str:
        """The name of the file, as of a path."""
        return self.path.name

    def values(self, size: Size) -> tuple[NDArray[np.uint16], list[str]]:
        """Draw the values ``(H, W)``; also returns the annotations left out, a line each."""
        found = self.find(size)
        problems = list(found.problems)
        drawn: list[tuple[Region, Box]] = []
        for region in found.regions:
            if self.only is not None and region.value not in (*self.only, BACKGROUND, IGNORED):
                continue
            try:
                drawn.append((region, rasterize(region.shape, size)))
            except ValueError as error:
                problems.append(f"{region.name}: {error}")
        return self._paint(drawn, size), problems

    def _paint(self, drawn: Sequence[tuple[Region, Box]], size: Size) -> NDArray[np.uint16]:
        values = np.zeros(size, np.uint16)
        taken = np.zeros(size, bool)
        for (value, *_), box in sorted(drawn, key=self._rank):
            here, region = values[box.place], box.pixels
            if self.overlap == "ignore" and value != IGNORED and self.only is None:
                here[region & taken[box.place] & (here != value)] = IGNORED
                region = region & ~taken[box.place]
                taken[box.place] |= region
            here[region] = 1 if self.only is not None and value in self.only else value
        return values

    def _rank(self, one: tuple[Region, Box]) -> tuple[bool, int]:
        """Return where a region comes in the order of painting; those of one rank stay in theirs."""
        region, box = one
        return not region.beneath, -int(np.count_nonzero(box.pixels)) if self.overlap == "smallest" else 0


def drawing_of(
    path: Path, regions: Sequence[Region], problems: Sequence[str], stamp: str, size: Size | None = None
) -> Drawing:
    """Make the drawing of regions that are known already, as where one file annotates all images."""
    return Drawing(path, partial(_known, Found(regions, problems)), stamp, size)


def _known(found: Found, size: Size) -> Found:  # noqa: ARG001 - of that size they were drawn
    return found


def refuse_or_tell(problems: Sequence[str], path: Path, on_bad: OnBad) -> None:
    """Raise `DataError`, or warn, of annotations that belong to no image that is listed."""
    if not problems:
        return
    lines = first_few([f"{path}: {problem}" for problem in problems])
    if on_bad == "error":
        raise DataError("\n".join([f"{line}; correct it, or leave it out with data.on_bad=skip" for line in lines]))
    log.warning("%d annotations of no image are left out:\n%s", len(problems), "\n".join(lines))


def stamp_of(*parts: object) -> str:
    """Hash what a drawing depends on, for `Drawing.stamp`."""
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:24]


def stamp_of_file(path: Path, *parts: object) -> str:
    """Hash the size and the modification time of a file, for a `Drawing.stamp`; raises `DataError` if it is missing."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; restore it") from None
    return stamp_of(str(path), status.st_size, status.st_mtime_ns, *parts)


def by_class(drawing: Drawing, values: Iterable[Iterable[int]]) -> list[Drawing]:
    """Return one drawing for each class, of regions of its values, for classes that overlap."""
    return [
        replace(drawing, stamp=f"{drawing.stamp}/{sorted(each)}", only=frozenset(each)) for each in map(list, values)
    ]
