"""Masks that are drawn while loading: polygons and run lengths of annotation tools."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from segtrain.errors import DataError

Size: TypeAlias = tuple[int, int]
Overlap: TypeAlias = Literal["last", "smallest", "ignore"]
"""Which region a pixel of several belongs to: the last drawn, the smallest, or none (it is ignored)."""
OnBad: TypeAlias = Literal["error", "skip"]
"""What a bad annotation or file is: an error, or left out and said."""
IGNORED = 2**16 - 1
"""The value of pixels that do not count, as of a crowd; a `Legend` of drawings ignores it."""


class Run(NamedTuple):
    """Run lengths: a mask ``(H, W)`` as the lengths of alternating runs of 0 and 1, 0 first.

    COCO counts down the columns, ``by_columns``; others along the rows.
    """

    size: Size
    lengths: Sequence[int]
    by_columns: bool


class Encoded(NamedTuple):
    """A mask ``(H, W)`` in COCO's compressed text."""

    size: Size
    text: bytes


class Box(NamedTuple):
    """A mask of a part of the image, whose upper left pixel is at ``(top, left)``; its pixels are bool."""

    top: int
    left: int
    pixels: NDArray[np.bool_]


Polygon: TypeAlias = NDArray[np.float32]
"""Corners ``(K, 2)`` as x, y; (0, 0) is the upper left corner of the upper left pixel, as in COCO."""
Shape: TypeAlias = tuple[Polygon, ...] | Run | Encoded | Box
"""What a region is made of; polygons of one region are united."""


class Region(NamedTuple):
    """One annotation: its value, its shape, and the name by which messages call it."""

    value: int
    shape: Shape
    name: str


class Found(NamedTuple):
    """The regions of an image, and the annotations left out, a line each: which, what is wrong."""

    regions: list[Region]
    problems: list[str]


@dataclass(eq=False)
class Drawing:
    """The mask of an image as regions, drawn when it is asked for: a stand-in for a mask file.

    ``path`` is the file that holds the annotations, for messages. ``size`` is the ``(H, W)`` that the
    tool saw; None where it does not say. ``find`` returns the regions, given the image's size; it is
    called each time, so a file per image is read only then. ``stamp`` changes whenever they do.
    Pixels of no region are ``background``. ``only`` draws the regions of one value, as 1: the mask
    of one class where classes overlap. A bad annotation is an error, or left out, as ``on_bad`` says.
    """

    path: Path
    find: Callable[[Size], Found]
    stamp: str
    size: Size | None = None
    overlap: Overlap = "last"
    background: int = 0
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
        drawn: list[tuple[int, NDArray[np.bool_]]] = []
        for region in found.regions:
            try:
                drawn.append((region.value, rasterize(region.shape, size)))
            except ValueError as error:
                problems.append(f"{region.name}: {error}")
        return self._paint(drawn, size), problems

    def _paint(self, drawn: Sequence[tuple[int, NDArray[np.bool_]]], size: Size) -> NDArray[np.uint16]:
        if self.only is not None:
            values = np.zeros(size, np.uint16)
            for value, region in drawn:
                if value in self.only:
                    values[region] = 1
                elif value == IGNORED:
                    values[region & (values == 0)] = IGNORED
            return values
        values = np.full(size, self.background, np.uint16)
        # what does not count first: a region of a class within a crowd counts
        order = sorted(drawn, key=lambda one: one[0] != IGNORED)
        if self.overlap == "smallest":
            order = sorted(order, key=lambda one: (one[0] != IGNORED, -np.count_nonzero(one[1])))
        taken = np.zeros(size, bool)
        for value, region in order:
            if self.overlap == "ignore":
                values[region & taken & (values != value)] = IGNORED
                region = region & ~taken
                taken |= region if value != IGNORED else False
            values[region] = value
        return values


def rasterize(shape: Shape, size: Size) -> NDArray[np.bool_]:
    """Draw a shape on an image of that ``(H, W)``; raises ValueError for a shape that is none.

    Polygons are drawn as the COCO API does. What lies outside the image is cut off.
    """
    if isinstance(shape, Box):
        return _placed(shape, size)
    if isinstance(shape, Run | Encoded):
        return _decoded(shape, size)
    return _drawn(shape, size)


def _drawn(polygons: Sequence[Polygon], size: Size) -> NDArray[np.bool_]:
    region = np.zeros(size, bool)
    for corners in polygons:
        if corners.ndim != 2 or corners.shape[1:] != (2,) or len(corners) < 3:
            raise ValueError(f"a polygon of {len(corners)} points, expected three or more")
        if not np.isfinite(corners).all():
            raise ValueError("a polygon with NaN or infinite corners")
    flat = [corners.astype(float).ravel().tolist() for corners in polygons]
    if not flat:
        raise ValueError("no polygon")
    if any(len(each) == 4 for each in flat):  # the COCO API would take four numbers for a box
        raise ValueError("a polygon of two points, expected three or more")
    encoded = coco.frPyObjects(flat, *size)
    region |= coco.decode(coco.merge(encoded)).astype(bool)
    return region


def _decoded(shape: Run | Encoded, size: Size) -> NDArray[np.bool_]:
    """Decode run lengths, whose own size has to be the image's."""
    if tuple(shape.size) != tuple(size):
        own, image = (f"{width}x{height}" for height, width in (shape.size, size))
        raise ValueError(f"run lengths for {own} pixels, but the image has {image}")
    height, width = size
    if isinstance(shape, Encoded):
        _check_text(shape.text, height * width)
        decoded = coco.decode({"size": [height, width], "counts": shape.text})
        return np.asarray(decoded, bool)
    lengths = np.asarray(shape.lengths, np.int64)
    if (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise ValueError(f"run lengths of {int(lengths.sum())} pixels, expected {height * width}")
    flags = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flags.reshape(width, height).T if shape.by_columns else flags.reshape(height, width)


def _check_text(text: bytes, pixels: int) -> None:
    """Check that a compressed text holds as many pixels as the image: the decoder would write beyond it.

    It is written as in the COCO API: five bits a letter, the sixth says that more follow, and from the
    third run on the difference to the run before last.
    """
    lengths: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place >= len(text) or not 48 <= text[place] < 112:
                raise ValueError("invalid compressed run lengths")
            letter = text[place] - 48
            value |= (letter & 0x1F) << (5 * shift)
            more = bool(letter & 0x20)
            place, shift = place + 1, shift + 1
            if not more and letter & 0x10:
                value |= -1 << (5 * shift)
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    if any(length < 0 for length in lengths) or sum(lengths) != pixels:
        raise ValueError(f"run lengths of {sum(lengths)} pixels, expected {pixels}")


def _placed(box: Box, size: Size) -> NDArray[np.bool_]:
    """Paste the pixels of a box into an empty mask; what lies outside is cut off."""
    region = np.zeros(size, bool)
    height, width = box.pixels.shape
    top, left = max(0, box.top), max(0, box.left)
    bottom, right = min(size[0], box.top + height), min(size[1], box.left + width)
    if top < bottom and left < right:
        region[top:bottom, left:right] = box.pixels[
            top - box.top : bottom - box.top, left - box.left : right - box.left
        ]
    return region


def outside(polygons: Sequence[Polygon], size: Size, *, slack: float = 1.0) -> bool:
    """Tell whether any corner lies outside an image of that ``(H, W)`` by more than ``slack`` pixels."""
    height, width = size
    corners = np.concatenate([np.asarray(each, float).reshape(-1, 2) for each in polygons])
    return bool(((corners < -slack) | (corners > np.array([width, height]) + slack)).any())


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
