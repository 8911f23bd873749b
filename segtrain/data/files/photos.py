"""Decoding JPEG, PNG, WebP, BMP, GIF and what else Pillow knows, with OpenCV and Pillow."""

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyspng
import simplejpeg
from PIL import Image, UnidentifiedImageError

from segtrain.data.files.heads import size_in_head
from segtrain.data.files.jpeg import decode_sound_jpeg, reduction_for, size_in
from segtrain.data.files.orientation import SIDEWAYS, orientation_of
from segtrain.data.files.stored import Colours, Request, Stored
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

JPEG, PNG, RIFF = b"\xff\xd8", b"\x89P", b"RI"  # first two bytes of files; WebP is a RIFF
ENDINGS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}
"""Last bytes of a complete JPEG (marker EOI) and PNG (chunk IEND with its CRC), by their first two."""
MOVING = {RIFF: b"ANIM", PNG: b"acTL"}
"""The chunk near the beginning of animated WebP and PNG files."""
HEAD = 64  # bytes in which that chunk stands
AS_THEY_STAND = ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F")
"""Pillow modes whose arrays hold the values of the file."""

Image.MAX_IMAGE_PIXELS = None  # aerial images exceed Pillow's limit; ours is `images.MAX_PIXELS`
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # our errors say what is wrong, as below
logging.getLogger("PIL").setLevel(logging.CRITICAL)
logs: Any = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # OpenCV 5, and 4
logs.setLogLevel(0)  # silent: our errors name the file and the remedy


def read_photo(request: Request) -> Stored:
    """Decode with OpenCV, and with Pillow what OpenCV cannot or might get wrong.

    Raises `ValueError` with the reason where the file cannot be used.
    """
    data = request.data
    _refuse_frames(data)
    _refuse_cut_webp(data)
    if size := size_in_head(data):
        request.admit(size)  # before anything is decoded: a small file may claim to be 60000x60000
    orientation = orientation_of(data)
    if reduced := _reduced(request, orientation):
        return reduced
    pixels, palette = _mask(request) if request.for_mask else (_photo(request), None)
    return Stored(pixels, colours_of(pixels), orientation, palette)


def _reduced(request: Request, orientation: int) -> Stored | None:
    """Decode a JPEG at a part of its size, where the request allows it; else None."""
    data, least = request.data, request.at_least
    if request.for_mask or least is None or data[:2] != JPEG or not _has_end(data):
        return None
    size = size_in(data)
    # of a photo that lies on its side, whether it is turned is decided later: both ways have to be large enough
    by = 1 if size is None else reduction_for(size, (max(least), max(least)) if orientation >= SIDEWAYS else least)
    if size is None or by == 1:
        return None
    request.admit(size)
    pixels = decode_sound_jpeg(data, by)
    return None if pixels is None else Stored(pixels, colours_of(pixels), orientation, size=size)


def _photo(request: Request) -> Pixels:
    # OpenCV fills the missing part of a truncated JPEG with gray, silently
    if _has_end(request.data):
        pixels = decode_with_opencv(request.data)
        if pixels is not None:
            request.admit(pixels.shape[:2])
            return pixels
    elif request.data[:2] == JPEG:
        refuse_corrupt_jpeg(request.path, request.data)
    return _decode_with_pillow(request)[0]


def _mask(request: Request) -> tuple[Pixels, Colours | None]:
    """Decode the values of a mask; returns them and the palette, None without one."""
    is_gray, is_wide = _is_gray_png(request.data) and _has_end(request.data), _is_wide_png(request.data)
    stored = _decode_gray_png(request.data) if is_gray else None
    if stored is None and (is_gray or is_wide):
        stored = decode_with_opencv(request.data)
    if stored is not None and (is_wide or stored.ndim == 2):
        request.admit(stored.shape[:2])
        return stored, None
    # Pillow and not OpenCV, which would turn palette indices into colours
    pixels, palette = _decode_with_pillow(request)
    return (pixels // _stretch_of(request.data) if pixels.ndim == 2 else pixels), palette


def colours_of(pixels: Pixels) -> int:
    """Return how many channels of a photo are colours: 3 of RGB and RGBA, 1 of gray; the rest is alpha."""
    return 3 if pixels.ndim == 3 and pixels.shape[2] > 2 else 1


def _has_end(data: bytes) -> bool:
    """Whether a JPEG ends as it should, and a PNG holds its last chunk, whatever follows it; True for other files."""
    ending = ENDINGS.get(data[:2], b"")
    return ending in data if data[:2] == PNG else data.endswith(ending)


def refuse_corrupt_jpeg(path: Path, data: bytes) -> None:
    """Raise `DataError` where a JPEG is truncated or damaged, which other decoders pass over.

    JPEG has no checksums: damage that decodes to something is not found.
    """
    try:
        # min_height=1 decodes at an eighth of the size: all data is read, at a fraction of the cost
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1)
    except ValueError as error:
        # libjpeg writes them in both cases; any other complaint is left to the decoder of the file
        if any(sign in str(error) for sign in ("orrupt JPEG data", "remature end")):
            raise DataError(f"{path}: cannot be decoded: {error}; restore or remove it") from None


def _refuse_cut_webp(data: bytes) -> None:
    """Raise where a WebP is shorter than its header says."""
    length = int.from_bytes(data[4:8], "little") + 8  # RIFF does not count its header of 8 bytes
    if data[:2] == RIFF and length > len(data):
        raise ValueError("cannot be decoded: the file is truncated; restore or remove it")


def _is_wide_png(data: bytes) -> bool:
    """Tell whether a file is a PNG of 16 bits in several channels, which Pillow reduces to 8 bits."""
    # IHDR: byte 24 is the bit depth, byte 25 the colour type: 2 RGB, 4 gray and alpha, 6 RGBA
    return data[:2] == PNG and data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")


def _is_gray_png(data: bytes) -> bool:
    """Tell whether a file is a PNG of 8 bits of gray, the usual form of masks."""
    return data[:2] == PNG and data[24:26] == b"\x08\0"  # IHDR: bit depth, colour type


def _stretch_of(data: bytes) -> int:
    """Return the factor by which Pillow scales gray PNGs of 2 or 4 bits to 0..255; 1 for others."""
    is_gray_png = data[:2] == PNG and data[25:26] == b"\0"
    return {2: 85, 4: 17}.get(data[24], 1) if is_gray_png else 1  # 255 / 3 and 255 / 15


def _refuse_frames(data: bytes) -> None:
    """Raise for an animated file: nothing says which of its frames is meant."""
    if MOVING.get(data[:2], b"\0none") in data[:HEAD] or (data[:3] == b"GIF" and _moves(data)):
        raise ValueError("holds several frames, expected one image; save the frame that counts on its own")


def _moves(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, EOFError):
        return False  # decoding says why


def decode_with_opencv(data: bytes) -> Pixels | None:
    """Decode to gray, RGB or RGBA, from OpenCV's BGR; None where OpenCV cannot."""
    quick = decode_sound_jpeg(data) if data[:2] == JPEG else None
    if quick is not None:
        return quick
    try:
        # UNCHANGED keeps 16 bits and alpha, and does not apply the EXIF orientation: `read_image` does
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None  # Pillow finds the reason
    if pixels is None or pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _decode_gray_png(data: bytes) -> Pixels | None:
    """Decode a PNG of 8 bits of gray, a quarter quicker than OpenCV; None where libspng cannot."""
    try:
        pixels: Pixels = pyspng.load(data)
    except (RuntimeError, ValueError):
        return None
    return pixels


def _decode_with_pillow(request: Request) -> tuple[Pixels, Colours | None]:
    """Decode, or raise `ValueError` with the reason; for a mask, palette indices and the palette."""
    try:
        with Image.open(io.BytesIO(request.data)) as image:
            request.admit((image.height, image.width))
            keep = image.mode in AS_THEY_STAND or (request.for_mask and image.mode == "P")
            pixels = np.asarray(image if keep else image.convert("RGB"))
            colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3) if keep and image.mode == "P" else None
    except UnidentifiedImageError:
        raise ValueError("not an image of a known format, or damaged; restore or remove it") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot be decoded: {error}; restore or remove it") from None
    if _is_wide_png(request.data):  # OpenCV did not take it, and Pillow has cut it to 8 bits
        raise ValueError("too large a PNG to be read in 16 bits; cut it into tiles, or save it as TIFF")
    return (pixels.astype(np.uint8) if pixels.dtype == bool else pixels), colours  # bool is mode "1"
