"""From label maps to regions: polygons along the edges of pixels, with holes, one for each connected part."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.rasterize import Polygon
from segtrain.task import Task

_BACKGROUND = ("background", "bg", "_background_")
_AROUND = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
"""x and y of the pixels around one, counterclockwise as one sees them."""
_EAST, _NORTH, _WEST, _SOUTH = 0, 2, 4, 6
_NUMBER = np.zeros((3, 3), np.int8)
"""The place of a pixel in that order by its y and x, of which -1 is the last."""
_BEGINNING = np.zeros((8, 2), np.int32)
"""x and y where the edge on a side of a pixel begins, counterclockwise."""
for _number, (_x, _y) in enumerate(_AROUND):
    _NUMBER[_y, _x] = _number
for _side, _corner in ((_EAST, (1, 1)), (_NORTH, (1, 0)), (_WEST, (0, 0)), (_SOUTH, (0, 1))):
    _BEGINNING[_side] = _corner


def _passed() -> NDArray[np.int8]:
    """Return the edges, of up to four, that are passed from one pixel around another to a second; -1 beyond them."""
    table = np.full((8, 8, 4), -1, np.int8)
    for back in range(8):
        for ahead in range(8):
            turned = (ahead - back - 1) % 8
            edges = [side % 8 for side in range(back + 1, back + 1 + turned) if side % 2 == 0]
            table[back, ahead, : len(edges)] = edges
    return table


_EDGES = _passed()


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
        plane, label = (labels[number], 1) if labels.ndim == 3 else (labels, number + first)
        yield from _regions_of(plane, label, number, min_area, tolerance)


def _regions_of(
    labels: NDArray[np.uint8], label: int, number: int, min_area: int, tolerance: float
) -> Iterator[Region]:
    mask = labels == label
    if not mask.any():
        return
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    del mask  # parts are four bytes a pixel: there is no room for it beside them
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
    contours, tree = cv2.findContours(pixels.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    is_hole = [bool(row[3] >= 0) for row in tree[0]]
    points = [contour[:, 0].astype(np.int32, copy=False) for contour in contours]
    outlines = [_corners(each, is_hole=hole) for each, hole in zip(points, is_hole, strict=True)]
    holes = [outline for outline, hole in zip(outlines, is_hole, strict=True) if hole]
    kept = [hole for hole in holes if area_of(hole) >= max(1, min_area)]
    (outer,) = (outline for outline, hole in zip(outlines, is_hole, strict=True) if not hole)
    return _simplified(outer, tolerance), [_simplified(hole, tolerance) for hole in kept]


def _corners(contour: NDArray[np.int32], *, is_hole: bool) -> Polygon:
    """Return the corners of the edges along a contour of OpenCV, which runs through the centres of its pixels.

    At each pixel the contour turns counterclockwise from the pixel before to the one after; what it turns past is
    outside. An outline begins at the left edge of its first pixel, a hole behind the right edge of the pixel before it.
    """
    if len(contour) == 1:
        edges = np.array([[_WEST, _SOUTH, _EAST, _NORTH]])
    else:
        x, y = (np.roll(contour, -1, axis=0) - contour).T
        ahead = _NUMBER[y, x]
        edges = _EDGES[(np.roll(ahead, 1) + 4) % 8, ahead]  # (pixels, 4)
    pixel, nth = np.nonzero(edges >= 0)
    edge = edges[pixel, nth]
    points = contour[pixel] + _BEGINNING[edge]  # (edges, 2)
    start = _EAST if is_hole else _WEST
    first = int(np.flatnonzero((pixel == 0) & (edge == start))[0]) + is_hole
    points = np.roll(points, -first, axis=0)
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners: Polygon = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]].astype(np.float64)
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
