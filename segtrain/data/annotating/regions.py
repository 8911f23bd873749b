"""From label maps to regions: polygons along the edges of pixels, with holes, one for each connected part."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.rasterize import Polygon
from segtrain.task import Task

_BACKGROUND = ("background", "bg", "_background_")


class Region(NamedTuple):
    """A connected part of one class: its number from 0 on among ``names``, its outline and its holes.

    Corners are those of pixels: (0, 0) is the upper left corner of the image, as in COCO. ``mask`` holds its pixels,
    bool, whose upper left one is at ``(top, left)``; pixels that touch at a corner are connected.
    """

    number: int
    outline: Polygon
    holes: tuple[Polygon, ...]
    top: int
    left: int
    mask: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.mask))


def annotated_names(task: Task) -> tuple[str, ...]:
    """Return the classes that regions are made of: all but a background."""
    names = task.class_names
    return names[1:] if not task.first_scored and names[0].lower() in _BACKGROUND else names


def find_regions(
    labels: NDArray[np.uint8], task: Task, *, min_area: int = 0, tolerance: float = 0.0
) -> Iterator[Region]:
    """Yield the regions of labels ``(H, W)`` or ``(C, H, W)`` as a task predicts them, class by class.

    Regions of fewer than ``min_area`` pixels are left out, and so are smaller holes. Outlines follow the edges of
    pixels exactly, or within ``tolerance`` pixels, with fewer corners (Douglas and Peucker 1973).
    """
    names = annotated_names(task)
    first = len(task.label_names) - len(names)  # the label of the first
    for number in range(len(names)):
        mask = labels[number] == 1 if labels.ndim == 3 else labels == number + first
        if mask.any():
            yield from _regions_of(mask, number, min_area, tolerance)


def _regions_of(mask: NDArray[np.bool_], number: int, min_area: int, tolerance: float) -> Iterator[Region]:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    for part in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[part])
        if area < min_area:
            continue
        pixels = parts[top : top + height, left : left + width] == part
        outline, holes = trace(pixels, min_area, tolerance)
        corner = np.array([left, top])
        yield Region(number, outline + corner, tuple(hole + corner for hole in holes), top, left, pixels)


def trace(pixels: NDArray[np.bool_], min_area: int = 0, tolerance: float = 0.0) -> tuple[Polygon, list[Polygon]]:
    """Return the outline and the holes of one connected part, along the edges of its pixels."""
    # OpenCV's contours run through the centres of pixels. In a picture of twice the size those are on either side of an
    # edge of the first: both are rounded to it.
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1).view(np.uint8)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = [_corners(contour[:, 0]) for contour in contours]
    is_hole = [row[3] >= 0 for row in tree[0]]
    holes = [outline for outline, hole in zip(outlines, is_hole, strict=True) if hole]
    kept = [hole for hole in holes if area_of(hole) >= max(1, min_area)]
    (outer,) = (outline for outline, hole in zip(outlines, is_hole, strict=True) if not hole)
    return _simplified(outer, tolerance), [_simplified(hole, tolerance) for hole in kept]


def _corners(contour: NDArray[Any]) -> Polygon:
    """Round a contour of the doubled picture to the edges of pixels, and keep its corners alone."""
    points = (contour.astype(np.int64) + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(1) < 0
    corners: Polygon = points[turns | back].astype(np.float64)
    return corners


def _simplified(polygon: Polygon, tolerance: float) -> Polygon:
    if not tolerance:
        return polygon
    fewer = cv2.approxPolyDP(polygon.astype(np.float32)[:, None], tolerance, closed=True)[:, 0]
    return polygon if len(fewer) < 3 else fewer.astype(np.float64)


def area_of(polygon: Polygon) -> float:
    """Return the area within a polygon (the shoelace formula)."""
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def flat(polygon: Polygon) -> list[float]:
    """Return the corners as x, y, x, y, ..., whole numbers as such."""
    return [int(value) if float(value).is_integer() else round(float(value), 2) for value in polygon.ravel()]


def pairs(polygon: Polygon) -> list[Sequence[float]]:
    """Return the corners as pairs x, y."""
    numbers = flat(polygon)
    return list(zip(numbers[::2], numbers[1::2], strict=True))
