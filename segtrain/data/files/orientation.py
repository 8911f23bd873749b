"""EXIF orientation: reading it, applying it to pixels, and undoing it."""

import io
import struct

import numpy as np
from PIL import ExifTags, Image

from segtrain.data.sample import Pixels

UPRIGHT = 1
SIDEWAYS = 5  # orientations from here on swap height and width
_TURNED_BACK = {6: 8, 8: 6}
"""Inverses of the two quarter turns; every other orientation is its own inverse."""
_SIGNS = {b"\xff\xd8": b"Exif\0\0", b"\x89P": b"eXIf", b"RI": b"EXIF"}
"""The marker of EXIF data in JPEG, PNG and WebP files, by their first two bytes."""


def orientation_of(data: bytes) -> int:
    """Return the EXIF orientation 1..8 in the bytes of a file; 1, upright, where it has none."""
    if _SIGNS.get(data[:2], b"\0") not in data:  # a plain search is far quicker than parsing the file
        return UPRIGHT
    try:
        with Image.open(io.BytesIO(data)) as image:
            return orientation_in(image)
    except (OSError, SyntaxError, ValueError):
        return UPRIGHT  # decoding says why


def orientation_in(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8 of an open image, without decoding it."""
    # getexif would decode such a PNG, to look for EXIF data after the pixels
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return UPRIGHT  # damaged EXIF data says nothing
    return value if value in range(1, 9) else UPRIGHT


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels ``(H, W)`` or ``(H, W, C)`` upright; 5 to 8 swap height and width (EXIF 2.3, 4.6.4)."""
    if orientation >= 5:  # transpose before the flips: they do not commute
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)  # OpenCV and torch take no negative strides


def turn_back(pixels: Pixels, orientation: int) -> Pixels:
    """Undo `turn`: from upright pixels to stored ones."""
    return turn(pixels, _TURNED_BACK.get(orientation, orientation))


def applies(orientation: int, stored: tuple[int, ...], mask_shape: tuple[int, ...] | None) -> bool:
    """Tell whether to apply an orientation to stored pixels of that ``(H, W)``, given its mask's.

    Labelling tools show photos upright, so their masks are upright too. Some masks were made from the
    stored pixels: if a mask has their size, and the upright photo has not, the orientation is not
    applied. If both sizes are equal (half turn, mirror, square photo), it is.
    """
    turned = stored[::-1] if orientation >= 5 else stored
    return orientation != UPRIGHT and (mask_shape is None or mask_shape == turned or mask_shape != stored)
