"""Small pictures of pairs for a page: the image beside itself with its masks drawn over, whatever can be read of it."""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segtrain.data.doctor.subject import Subject
from segtrain.data.files.drawings import Drawing
from segtrain.data.files.images import decode_image, read_mask
from segtrain.data.files.listing import Mask, Pair, size_drawn
from segtrain.data.files.orientation import applies, turn
from segtrain.data.files.stacked_masks import read_layers
from segtrain.data.palette import Colour, overlay
from segtrain.data.sample import Pixels
from segtrain.drawing.pictures import as_rgb
from segtrain.errors import DataError

SIDE = 200  # pixels of the longer side
_PAPER = 200  # gray, in place of an image that cannot be read


def thumbnail(pair: Pair, subject: Subject, colours: Sequence[Colour]) -> NDArray[np.uint8] | None:
    """Draw image and masks of a pair, side by side: RGB ``(H, W, 3)``; None where neither can be read.

    A mask of another size is stretched to the image, and values without a label are gray.
    """
    files = _labels(pair, subject, None)
    image = _image(pair, subject, next((mask.shape for mask in files if mask is not None), size_drawn(pair)))
    labels = _labels(pair, subject, size_drawn(pair) if image is None else image.shape[:2])
    drawn = [mask for mask in labels if mask is not None]
    if image is None and not drawn:
        return None
    height, width = image.shape[:2] if image is not None else drawn[0].shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    blank = np.full((size[1], size[0], 3), _PAPER, np.uint8)
    small = blank if image is None else _shrunk(image, size, cv2.INTER_AREA)
    if not drawn:
        return small
    nothing = np.zeros(small.shape[:2], np.uint8)
    shrunk = [nothing if mask is None else _shrunk(mask, size, cv2.INTER_NEAREST) for mask in labels]
    target = np.stack(shrunk) if subject.by_class else shrunk[0]  # (C, h, w) or (h, w)
    return np.concatenate([small, overlay(small, target, colours)], axis=1)


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Encode a picture ``(H, W, 3)`` as the address of an ``<img>`` that holds all of it."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _labels(pair: Pair, subject: Subject, size: tuple[int, ...] | None) -> list[NDArray[np.uint8] | None]:
    """Read the masks of a pair as labels, or draw them for an image of that ``(H, W)``; None where that fails."""
    first = pair.masks[0]
    if subject.stacking and isinstance(first, Path):
        try:
            return list(read_layers(first, subject.stacking, max_pixels=subject.max_pixels))
        except DataError:
            return [None]
    found: list[NDArray[np.uint8] | None] = []
    for file in pair.masks:
        try:
            values = _values(file, subject, size)
        except DataError:
            values = None
        found.append(None if values is None else subject.labels(values))
    return found


def _values(mask: Mask | None, subject: Subject, size: tuple[int, ...] | None) -> Pixels | None:
    if isinstance(mask, Drawing):
        return mask.values((size[0], size[1]))[0] if size else None
    return None if mask is None else read_mask(mask, by_colour=subject.labels.by_colour)


def _image(pair: Pair, subject: Subject, mask_shape: tuple[int, ...] | None) -> NDArray[np.uint8] | None:
    """Read the image as RGB, its least and greatest value as black and white unless they are known."""
    try:
        decoded = decode_image(pair.image, channels=subject.channels, max_pixels=subject.max_pixels)
    except DataError:
        return None
    pixels = decoded.pixels if decoded.pixels.ndim == 3 else decoded.pixels[..., None]  # (H, W, C)
    if applies(decoded.orientation, pixels.shape[:2], mask_shape):
        pixels = turn(pixels, decoded.orientation)
    return as_rgb(pixels, subject.value_range or _ends(pixels))


def _ends(pixels: Pixels) -> tuple[float, float] | None:
    if pixels.dtype == np.uint8:
        return None
    low, high = float(pixels.min()), float(pixels.max())
    return (low, high) if high > low else None


def _shrunk(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation)).astype(np.uint8, copy=False)
