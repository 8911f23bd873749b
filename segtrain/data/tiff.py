"""Reading TIFF files: every band, every page, any type of number; or a line that says what a file holds."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segtrain.data.orientation import UPRIGHT, turn_back
from segtrain.data.sample import Pixels

tifffile.logger().setLevel("CRITICAL")  # what it would log of odd tags, we raise where it matters

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ALPHA = (1, 2)  # extra samples that are transparency
AS_STORED = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE")
"""Meanings of samples that need no conversion of colours."""
BY_OTHERS = ("NONE", "LZW", "JPEG", "OJPEG", "CCITTRLE", "CCITTFAX3", "CCITTFAX4", "ADOBE_DEFLATE", "DEFLATE")
"""Compressions that Pillow and OpenCV decode or refuse; of JPEG 2000, OpenCV makes black."""


class TiffImage(NamedTuple):
    """Pixels ``(H, W)`` or ``(H, W, C)`` as stored, of any type of number.

    The first ``colours`` channels are gray or RGB; None: they are bands of any meaning. ``palette`` is ``(values, 3)``
    of uint8, where pixels are indices.
    """

    pixels: Pixels
    colours: int | None
    orientation: int = UPRIGHT
    palette: NDArray[np.uint8] | None = None


def read_tiff(data: bytes, *, admit: Callable[[tuple[int, int]], None] = lambda _size: None) -> TiffImage:
    """Decode a file; pages of one channel become channels. Raises `ValueError` that says why it cannot be used.

    ``admit`` is told height and width before anything is decoded, and may raise.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            image = _only_image(file)
            page: Any = image.keyframe
            admit((page.imagelength, page.imagewidth))
            orientation = int(page.tags.valueof("Orientation", UPRIGHT))
            pixels = _pixels(image, data, orientation)
            return TiffImage(pixels, _colours(page, pixels), orientation, _palette(page))
    except (tifffile.TiffFileError, IndexError, KeyError, TypeError, zlib.error, struct.error) as error:
        raise ValueError(f"damaged TIFF ({error})") from None


def _only_image(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Return the one image of a file, which may have smaller copies and masks of transparency beside it."""
    images = [image for image in file.series if not (image.keyframe.is_reduced or image.keyframe.is_mask)]
    if not images:
        raise ValueError("damaged TIFF (no image in it)")
    if len(images) > 1:
        sizes = ", ".join("x".join(map(str, image.shape)) for image in images)
        raise ValueError(f"holds {len(images)} images ({sizes}), expected one; save the one that counts on its own")
    if images[0].ndim > 3:
        pages = "x".join(map(str, images[0].shape))
        raise ValueError(f"holds pages of several channels ({pages}), expected one image; save its pages as files")
    return images[0]


def _pixels(image: tifffile.TiffPageSeries, data: bytes, orientation: int) -> Pixels:
    page: Any = image.keyframe
    if page.photometric.name not in AS_STORED:
        return _by_others(image, data, orientation)
    try:
        pixels = image.asarray(maxworkers=1)  # files are read side by side as it is
    except (ValueError, ImportError, NotImplementedError) as error:
        if "imagecodecs" in str(error) or not isinstance(error, ValueError):
            return _by_others(image, data, orientation)
        raise
    if image.ndim == 3 and not image.axes.endswith("S"):  # bands apart, or pages
        pixels = pixels.transpose(1, 2, 0)
    if page.photometric.name == "MINISWHITE" and pixels.dtype.kind in "bu":
        pixels = ~pixels if page.bitspersample == pixels.dtype.itemsize * 8 or pixels.dtype == bool else pixels
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def _by_others(image: tifffile.TiffPageSeries, data: bytes, orientation: int) -> Pixels:
    """Let Pillow or OpenCV decode what tifffile alone cannot, where the result is what the file says it holds."""
    page: Any = image.keyframe
    compression = getattr(page.compression, "name", str(page.compression))
    if len(image.pages) == 1 and compression in BY_OTHERS:
        for decode in (_with_pillow, _with_opencv):
            pixels = decode(data, page)
            if pixels is not None:
                return turn_back(pixels, orientation)  # both turn TIFF files upright
    what = f"{page.samplesperpixel} channels of {page.dtype}, {page.photometric.name}"
    raise ValueError(f"cannot be decoded ({compression}: {what}); run pip install imagecodecs, or save it uncompressed")


def _with_pillow(data: bytes, page: Any) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if page.photometric.name not in AS_STORED:
                return np.asarray(image.convert("RGB")) if page.dtype == np.uint8 else None
            pixels = np.asarray(image)
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot be decoded: {error}") from None
    return pixels if _is_as_said(pixels, page) else None


def _with_opencv(data: bytes, page: Any) -> Pixels | None:
    if page.photometric.name not in AS_STORED or (page.samplesperpixel == 4 and page.dtype == np.uint8):
        return None  # it would multiply colours of 8 bits by what may be transparency
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than it takes
        return None
    if pixels is None or not _is_as_said(pixels, page):
        return None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(page.samplesperpixel)
    return pixels[..., order] if order else pixels


def _is_as_said(pixels: Pixels, page: Any) -> bool:
    shape = page.shape if pixels.shape == page.shape else (page.imagewidth, page.imagelength, *page.shape[2:])
    return pixels.shape == shape and pixels.dtype == page.dtype


def _colours(page: Any, pixels: Pixels) -> int | None:
    """Tell how many of the channels are gray or RGB, and not transparency or bands."""
    if page.photometric.name not in ("MINISBLACK", "MINISWHITE"):
        return 1 if page.photometric.name == "PALETTE" else 3
    with_alpha = page.samplesperpixel == 2 and page.extrasamples and page.extrasamples[0] in ALPHA
    return 1 if pixels.ndim == 2 or with_alpha else None


def _palette(page: Any) -> NDArray[np.uint8] | None:
    """Give the colours of a file of indices; TIFF has them in 16 bits."""
    if page.photometric.name != "PALETTE":
        return None
    return (np.asarray(page.colormap, np.uint16).T >> 8).astype(np.uint8)
