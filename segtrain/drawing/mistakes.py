"""Pictures of a model's mistakes: what is missed and what is too much of a class, and regions that look mislabelled."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.palette import Colour, overlay

FOUND: Colour = (0, 158, 115)
EXTRA: Colour = (230, 159, 0)
MISSED: Colour = (213, 62, 160)
"""Of Okabe and Ito (2008), apart for every kind of colour vision; missed pixels are striped too."""
SIDE = 320
"""Pixels of the longer side of a picture."""
_STRIPE = 4  # pixels
_OPACITY = {"found": 0.28, "wrong": 0.72}
_PAPER = 200  # gray, where there is no photo


def mistakes(
    image: NDArray[np.uint8] | None, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], *, side: int = SIDE
) -> NDArray[np.uint8]:
    """Draw one class over its image: found pixels tinted, extra ones filled, missed ones striped; RGB ``(h, w, 3)``.

    ``truth`` and ``predicted`` are ``(H, W)`` and hold no ignored pixel; the image is RGB ``(H, W, 3)``.
    """
    size = _size(truth.shape, side)
    photo = _photo(image, size)
    true, said = (_labels(mask.astype(np.uint8), size).astype(bool) for mask in (truth, predicted))
    canvas = photo.astype(np.float32)
    rows, columns = np.mgrid[: size[1], : size[0]]
    striped = (rows + columns) // _STRIPE % 2 == 0
    for mask, colour, opacity in (
        (true & said, FOUND, _OPACITY["found"]),
        (said & ~true, EXTRA, _OPACITY["wrong"]),
        (true & ~said & striped, MISSED, 1.0),
        (true & ~said & ~striped, MISSED, _OPACITY["found"]),
    ):
        canvas[mask] = (1 - opacity) * canvas[mask] + opacity * np.array(colour, np.float32)
    return np.rint(canvas).astype(np.uint8)


def disagreement(
    image: NDArray[np.uint8] | None,
    given: NDArray[np.integer],
    predicted: NDArray[np.integer],
    colours: Sequence[Colour],
    box: tuple[int, int, int, int],
    *,
    side: int = SIDE,
) -> NDArray[np.uint8]:
    """Draw the given and the predicted labels over an image, side by side, each with the box in question.

    Labels are ``(H, W)``, or ``(C, H, W)`` if classes overlap; ``box`` is x, y, width and height in their pixels.
    """
    shape = given.shape[-2:]
    size = _size(shape, side)
    photo, scale = _photo(image, size), size[0] / shape[1]
    x, y, width, height = box
    corners = (round(x * scale), round(y * scale)), (round((x + width) * scale) - 1, round((y + height) * scale) - 1)
    panels = []
    for labels in (given, predicted):
        maps = labels if labels.ndim == 3 else labels[None]
        small = np.stack([_labels(each.astype(np.uint8), size) for each in maps])
        drawn = np.ascontiguousarray(overlay(photo, small if labels.ndim == 3 else small[0], colours, alpha=0.5))
        cv2.rectangle(drawn, *corners, (0, 0, 0), 3)  # black around white: visible on every image
        cv2.rectangle(drawn, *corners, (255, 255, 255), 1)
        panels.append(drawn)
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return width and height of the picture of a map ``(H, W)``."""
    height, width = shape
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _photo(image: NDArray[np.uint8] | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    if image is None:
        return np.full((size[1], size[0], 3), _PAPER, np.uint8)
    shrinks = size[0] < image.shape[1]
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled).astype(np.uint8, copy=False)


def _labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)).astype(np.uint8, copy=False)
