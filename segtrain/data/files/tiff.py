"""Reading TIFF files of any bands, pages and dtypes, with tifffile, Pillow or OpenCV."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from segtrain.data.files.orientation import UPRIGHT, turn_back
from segtrain.data.files.photos import decode_with_opencv
from segtrain.data.files.stored import Colours, Request, Stored, UnreadableError
from segtrain.data.sample import Pixels

tifffile.logger().setLevel("CRITICAL")  # it would log odd tags; where they matter, we raise

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF, of both byte orders
ALPHA = (1, 2)  # values of the tag ExtraSamples: associated and unassociated alpha
AS_STORED = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE")
"""Photometric interpretations that need no colour conversion."""
BY_OTHERS = ("NONE", "LZW", "JPEG", "OJPEG", "CCITTRLE", "CCITTFAX3", "CCITTFAX4", "ADOBE_DEFLATE", "DEFLATE")
"""Compressions that Pillow and OpenCV decode or refuse; JPEG 2000 is not one, OpenCV makes it black."""


DAMAGE = (
    *(tifffile.TiffFileError, IndexError, KeyError, TypeError, zlib.error, struct.error),
    *(AttributeError, ZeroDivisionError, OverflowError),  # a tag of no known value is a plain number, a side may be 0
)
"""What tifffile and our use of its tags raise where a file is damaged; it raises `ValueError` too."""
NODATA = 42113  # the tag GDAL_NODATA: the value of pixels that hold nothing


def read_tiff(request: Request) -> Stored:
    """Decode a TIFF file; pages of one channel become channels.

    Raises `ValueError` with the reason where the file cannot be used, `UnreadableError` where GDAL may
    decode it.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(request.data)) as file:
            image = only_image(file)
            page: Any = image.keyframe
            request.admit((page.imagelength, page.imagewidth))
            orientation = int(page.tags.valueof("Orientation", UPRIGHT))
            pixels = _pixels(image, request.data, orientation)
            palette = _palette(page)
            if palette is not None and not request.for_mask:
                return Stored(palette[pixels], 3, orientation)
            return Stored(pixels, colours_in_page(page, pixels.shape[2:]), orientation, palette, (nodata_of(page),))
    except DAMAGE as error:
        raise ValueError(f"damaged TIFF ({error})") from None


def only_image(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Return the only image of a file, apart from overviews and transparency masks."""
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
    """Decode the pixels as stored, channels last, white high, in native byte order."""
    page: Any = image.keyframe
    if page.photometric.name not in AS_STORED:
        return _by_others(image, data, orientation)
    try:
        pixels = image.asarray(maxworkers=1)  # no threads: files are already read in parallel
    except (ValueError, ImportError, NotImplementedError) as error:
        if "imagecodecs" in str(error) or not isinstance(error, ValueError):
            return _by_others(image, data, orientation)
        raise
    if image.ndim == 3 and not image.axes.endswith("S"):  # planar bands, or pages: (C, H, W)
        pixels = pixels.transpose(1, 2, 0)  # (H, W, C)
    if page.photometric.name == "MINISWHITE" and pixels.dtype.kind in "bu":
        # ~ inverts the whole dtype: 4 bits in a uint8 would become 240..255
        fills_dtype = pixels.dtype == bool or page.bitspersample == pixels.dtype.itemsize * 8
        pixels = ~pixels if fills_dtype else pixels
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def _by_others(image: tifffile.TiffPageSeries, data: bytes, orientation: int) -> Pixels:
    """Decode with Pillow or OpenCV what tifffile cannot, if shape and dtype are those in the header."""
    page: Any = image.keyframe
    compression = getattr(page.compression, "name", str(page.compression))
    if len(image.pages) == 1:
        decoders: tuple[Callable[[bytes, Any], Pixels | None], ...] = ()
        if compression in BY_OTHERS:
            decoders = (_with_pillow, _with_opencv)
        elif page.photometric.name == "LOGLUV":
            decoders = (_log_luv,)
        for decode in decoders:
            pixels = decode(data, page)
            if pixels is not None:
                return turn_back(pixels, orientation)  # both have applied the orientation, unlike tifffile
    what = f"{page.samplesperpixel} channels of {page.dtype}, {page.photometric.name}"
    reason = f"cannot be decoded ({compression}: {what}); run pip install imagecodecs, or save it uncompressed"
    if page.photometric.name in AS_STORED and page.photometric.name != "MINISWHITE":  # GDAL would leave white low
        raise UnreadableError(reason, orientation)
    raise ValueError(reason)


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
        return None  # OpenCV would multiply 8-bit RGB by a fourth channel that may not be alpha
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than its limit
        return None
    if pixels is None or not _is_as_said(pixels, page):
        return None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(page.samplesperpixel)  # from BGR, BGRA
    return pixels[..., order] if order else pixels


def _log_luv(data: bytes, page: Any) -> Pixels | None:
    """Decode RGB of float32 in logarithms, as OpenCV 4 writes it; the header has the dtype of these."""
    pixels = decode_with_opencv(data)
    return pixels if pixels is not None and pixels.dtype == np.float32 and pixels.shape == page.shape else None


def _is_as_said(pixels: Pixels, page: Any) -> bool:
    """Tell whether pixels have the shape and dtype in the header, upright or turned by 90 degrees."""
    turned = (page.imagewidth, page.imagelength, *page.shape[2:])
    return pixels.shape in (page.shape, turned) and pixels.dtype == page.dtype


def colours_in_page(page: Any, bands: tuple[int, ...]) -> int | None:
    """Return how many channels are gray (1) or RGB (3), without alpha; None: all are bands.

    ``bands`` is the shape of its pixels behind height and width.
    """
    with_alpha = len(page.extrasamples) == 1 and page.extrasamples[0] in ALPHA
    if page.photometric.name not in ("MINISBLACK", "MINISWHITE", "RGB"):
        return 1 if page.photometric.name == "PALETTE" else 3
    colours = 3 if page.photometric.name == "RGB" else 1
    channels = bands[0] if bands else 1
    return colours if channels == colours + with_alpha else None  # else as near infrared behind RGB


def nodata_of(page: Any) -> float | None:
    """Return the value of pixels that hold no data; tifffile's own refuses the least float, the most usual one."""
    try:
        return float(str(page.tags.valueof(NODATA)).strip("\0 "))
    except ValueError:  # no tag, or a word
        return None


def _palette(page: Any) -> Colours | None:
    """Return the palette ``(values, 3)`` of a file of indices, reduced from TIFF's 16 bits to 8."""
    if page.photometric.name != "PALETTE":
        return None
    # stored as (3, values)
    colours: Colours = (np.asarray(page.colormap, np.uint16).T >> 8).astype(np.uint8)
    return colours
