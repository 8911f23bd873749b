"""From the shapes of annotation tools to pixels: polygons, run lengths, and masks of a part of the image."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Size: TypeAlias = tuple[int, int]
FAR = 10
"""A corner that lies so many sides of the image beyond it is a mistake, and would take minutes to draw."""
_STEPS = 5  # of a pixel, to which the COCO API rounds corners


class Run(NamedTuple):
    """Run lengths: a mask ``(H, W)`` as the lengths of alternating runs of 0 and 1, 0 first.

    COCO counts down the columns, ``by_columns``; others along the rows.
    """

    size: Size
    lengths: Sequence[int] | NDArray[np.integer]
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

    def within(self, size: Size) -> "Box":
        """Cut off what lies outside an image of that ``(H, W)``."""
        top, left = max(0, -self.top), max(0, -self.left)
        bottom, right = max(0, size[0] - self.top), max(0, size[1] - self.left)
        return Box(max(0, self.top), max(0, self.left), self.pixels[top:bottom, left:right])

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of the image that it covers."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class Placed(NamedTuple):
    """Run lengths of a part of the image, whose upper left pixel is at ``(top, left)``."""

    top: int
    left: int
    run: Run


Polygon: TypeAlias = NDArray[np.float64]
"""Corners ``(K, 2)`` as x, y; (0, 0) is the upper left corner of the upper left pixel, as in COCO.

Not float32: a fifth of the corners with one decimal lie where the COCO API rounds, on one side or the other.
"""
Shape: TypeAlias = tuple[Polygon, ...] | Run | Encoded | Box | Placed
"""What a region is made of; polygons of one region are united."""


def rasterize(shape: Shape, size: Size) -> Box:
    """Draw a shape on an image of that ``(H, W)``; raises ValueError for one that is none, or has no pixel there.

    Returns the part of the image that holds it: of large images with hundreds of regions, whole masks
    would take gigabytes. Polygons are drawn as the COCO API does. What lies outside is cut off.
    """
    if isinstance(shape, Placed):
        box = Box(shape.top, shape.left, _decoded(shape.run, shape.run.size)).within(size)
    elif isinstance(shape, Box):
        box = shape.within(size)
    elif isinstance(shape, Run | Encoded):
        box = _trimmed(_decoded(shape, size))
    else:
        box = _drawn(shape, size)
    if not box.pixels.any():
        if not isinstance(shape, Run | Encoded | Box | Placed) and _outside(shape, size):
            raise ValueError("lies outside the image")
        raise ValueError("covers no pixel")
    return box


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Return the corners of a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, *, degrees: float = 0.0) -> Polygon:
    """Return corners on an ellipse, sides less than a tenth of a pixel from it; turned clockwise, as y points down."""
    count = max(16, int(np.ceil(np.pi * np.sqrt(max(abs(radius_x), abs(radius_y), 1.0)))) * 4)
    angles = np.arange(count) * (2 * np.pi / count)
    return np.array([x, y]) + turned(np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], 1), degrees)


def turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Turn points ``(K, 2)`` around (0, 0), clockwise as y points down."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    result: NDArray[np.float64] = points @ np.array([[cos, sin], [-sin, cos]])
    return result


def corners_of(numbers: object) -> Polygon:
    """Make corners of a flat list x, y, x, y, ... or of pairs; raises ValueError for what is no polygon."""
    try:
        flat = np.asarray(numbers, float)
    except (TypeError, ValueError):
        raise ValueError("a polygon of other things than numbers") from None
    if flat.size % 2 or flat.ndim not in (1, 2) or (flat.ndim == 2 and flat.shape[1] != 2):
        raise ValueError(f"a polygon of {flat.size} numbers, expected pairs x, y")
    return flat.reshape(-1, 2)


def _outside(polygons: Sequence[Polygon], size: Size) -> bool:
    corners = np.concatenate(polygons)
    low, high = corners.min(0), corners.max(0)
    return bool((high <= 0).any() or low[0] >= size[1] or low[1] >= size[0])


def _drawn(polygons: Sequence[Polygon], size: Size) -> Box:
    """Draw polygons in a window just large enough."""
    _check_corners(polygons, size)
    height, width = size
    # the fifths of a pixel to which the COCO API rounds, towards 0 as in C
    rounded = [np.trunc(corners * _STEPS + 0.5) for corners in polygons]
    every = np.concatenate(rounded)
    left, top = (np.clip(np.floor(every.min(0) / _STEPS) - 1, 0, [width, height])).astype(int).tolist()
    right, bottom = (np.clip(np.ceil(every.max(0) / _STEPS) + 1, 0, [width, height])).astype(int).tolist()
    if left >= right or top >= bottom:
        return Box(0, 0, np.zeros((0, 0), bool))
    flat = []
    for corners in rounded:
        moved = corners - np.array([left, top]) * _STEPS
        # so that rounding them again returns them, on both sides of 0
        flat.append(((moved - np.where(moved < 0, 0.75, 0.0)) / _STEPS).ravel().tolist())
    encoded = coco.frPyObjects(flat, bottom - top, right - left)
    return Box(top, left, np.asarray(coco.decode(coco.merge(encoded)), bool))


def _check_corners(polygons: Sequence[Polygon], size: Size) -> None:
    if not polygons:
        raise ValueError("no polygon")
    for corners in polygons:
        if len(corners) < 3:  # the COCO API would take two corners for a box
            raise ValueError(f"a polygon of {len(corners)} points, expected three or more")
        if not np.isfinite(corners).all():
            raise ValueError("a polygon with NaN or infinite corners")
        if np.abs(corners).max() > FAR * max(size):
            raise ValueError(f"a corner at {np.abs(corners).max():g}, far outside the image")


def _trimmed(mask: NDArray[np.bool_]) -> Box:
    """Cut a mask ``(H, W)`` down to the rows and columns that hold any of it; a copy, so that the whole is freed."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Box(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return Box(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


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
    flags = flags_of_runs(shape.lengths, height * width)
    return flags.reshape(width, height).T if shape.by_columns else flags.reshape(height, width)


def flags_of_runs(runs: Sequence[int] | NDArray[np.integer], pixels: int) -> NDArray[np.bool_]:
    """Expand alternating runs, of 0 first, to flags ``(pixels,)``; raises ValueError if they are not so many."""
    try:
        lengths = np.asarray(runs)
        lengths = lengths.astype(np.int64, casting="safe" if lengths.size else "unsafe")
    except (TypeError, ValueError, OverflowError):
        raise ValueError("run lengths that are no integers") from None
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != pixels:
        raise ValueError(f"run lengths of {int(lengths.sum())} pixels, expected {pixels}")
    flags: NDArray[np.bool_] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flags


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
