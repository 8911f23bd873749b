"""The EXIF orientation of photos: how their stored pixels are turned to stand upright."""

import io
import struct

import numpy as np
from PIL import ExifTags, Image

from segtrain.data.sample import Pixels

UPRIGHT = 1
_TURNED_BACK = {6: 8, 8: 6}
"""Orientations that undo others; each of the rest undoes itself."""
_SIGNS = {b"\xff\xd8": b"Exif\0\0", b"\x89P": b"eXIf", b"RI": b"EXIF"}
"""What a JPEG, a PNG and a WebP with EXIF data hold, by how they begin."""


def orientation_of(data: bytes) -> int:
    """Find the EXIF orientation 1..8 of an image file; 1, upright, where it says none."""
    if _SIGNS.get(data[:2], b"\0") not in data:  # a search is far quicker than to look for the part that holds it
        return UPRIGHT
    try:
        with Image.open(io.BytesIO(data)) as image:
            return orientation_in(image)
    except (OSError, SyntaxError, ValueError):
        return UPRIGHT  # decoding says why


def orientation_in(image: Image.Image) -> int:
    """Find the EXIF orientation of an open image, without decoding it."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode it to look behind the pixels
        return UPRIGHT
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return UPRIGHT  # damaged EXIF data says nothing
    return value if value in range(1, 9) else UPRIGHT


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels ``(H, W)`` or ``(H, W, C)`` upright; 5 to 8 exchange height and width (EXIF 2.3, 4.6.4)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def turn_back(pixels: Pixels, orientation: int) -> Pixels:
    """Undo `turn`."""
    return turn(pixels, _TURNED_BACK.get(orientation, orientation))


def applies(orientation: int, stored: tuple[int, ...], mask_shape: tuple[int, ...] | None) -> bool:
    """Tell whether an orientation is to be applied to pixels of the shape ``stored``, ``(H, W)``.

    Labelling tools show photos upright, so that their masks are upright too. Some masks were made from stored pixels:
    where a mask has their size, which the upright photo has not, they stay as they are. Where both have the same size
    (a half turn, a mirror, a square photo) nothing tells, and the photo is turned upright.
    """
    turned = stored[::-1] if orientation >= 5 else stored
    return orientation != UPRIGHT and (mask_shape is None or mask_shape == turned or mask_shape != stored)
