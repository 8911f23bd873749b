"""Reading image and mask files; training and prediction both come through here.

Pixels are taken as they are stored: the EXIF orientation of a photo is ignored, because masks have none. TIFF files of
more than four channels are beyond both OpenCV and Pillow.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from segtrain.data.sample import Pixels
from segtrain.errors import DataError

ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""How a complete JPEG and a complete PNG end, by how they begin."""
TAIL = 8  # bytes, no less than the longest ending
GRAY_OR_RGB = ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F")
"""Modes of Pillow that are arrays as they stand."""


def read_image(path: Path, *, channels: int = 3) -> Pixels:
    """Read an image as ``(H, W, channels)`` of uint8, uint16 or float32: RGB for 3, gray for 1, else as in the file.

    An alpha channel is dropped, gray is repeated. Raises `DataError` where the file is missing, damaged or of other
    channels.
    """
    pixels = _decode(path)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise DataError(f"{path}: holds {pixels.dtype}, expected uint8, uint16 or float32; convert the file")
    return _with_channels(pixels if pixels.ndim == 3 else pixels[..., None], channels, path)


def read_mask(path: Path) -> Pixels:
    """Read a mask as ``(H, W)`` of uint8 or uint16: the values in the file, indices into the palette where it has one.

    Raises `DataError` where the file is missing, damaged or holds colours.
    """
    pixels = _decode_with_pillow(path, _read_bytes(path), palette=True)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., 0]  # gray with alpha
    if pixels.ndim != 2:
        raise DataError(
            f"{path}: the mask holds colours, expected one channel of label values; save it as 8-bit gray or indexed"
        )
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: the mask holds {pixels.dtype}, expected label values of 8 or 16 bits")
    return pixels.astype(np.uint8 if pixels.dtype.itemsize == 1 else np.uint16, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """Give the ``(H, W)`` of an image without decoding it where its ends tell that it is complete.

    Raises `DataError` where the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(-min(TAIL, path.stat().st_size), io.SEEK_END)
            if start in ENDINGS and file.read().endswith(ENDINGS[start]):
                width, height = Image.open(path).size
                return height, width
    except (OSError, SyntaxError, ValueError):
        pass  # decoding finds the reason
    height, width = _decode(path).shape[:2]
    return height, width


def _decode(path: Path) -> Pixels:
    """Decode to RGB, RGBA or whatever it is, with OpenCV; what that cannot do or might do wrong is left to Pillow."""
    data = _read_bytes(path)
    # OpenCV fills the missing part of a truncated JPEG with gray and says nothing
    if data.endswith(ENDINGS.get(data[:2], b"")):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None and not _multiplied_by_alpha(pixels, data):
            return _from_bgr(pixels)
    return _decode_with_pillow(path, data, palette=False)


def _multiplied_by_alpha(pixels: Pixels, data: bytes) -> bool:
    """Tell whether OpenCV darkened the colours where they are transparent, which it does to TIFF of 8 bits only."""
    may_be = data[:2] in (b"II", b"MM") and pixels.shape[2:] == (4,) and pixels.dtype == np.uint8
    return may_be and Image.open(io.BytesIO(data)).mode == "RGBA"  # without that mode, the fourth is another band


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise DataError(f"{path}: the file is empty; restore or remove it")
    return data


def _decode_with_pillow(path: Path, data: bytes, *, palette: bool) -> Pixels:
    """Decode with the reason where it fails; ``palette`` asks for the indices of a file that has one."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            keep = image.mode in GRAY_OR_RGB or (palette and image.mode == "P")
            pixels = np.asarray(image if keep else image.convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image of a known format, or damaged; restore or remove it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded: {error}; restore or remove it") from None
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels  # mode "1"


def _from_bgr(pixels: Pixels) -> Pixels:
    """Turn OpenCV's order of colours round; four channels are colours and alpha."""
    if pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _with_channels(pixels: Pixels, channels: int, path: Path) -> Pixels:
    """Bring ``(H, W, C)`` to the number of channels that is asked for."""
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 3 and found == 4:
        return np.ascontiguousarray(pixels[..., :3])
    if channels == 3 and found in (1, 2):
        return np.repeat(pixels[..., :1], 3, axis=2)
    if channels == 1 and found in (3, 4):
        return cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)[..., None]
    raise DataError(f"{path}: the image has {found} channels, expected {channels}; set data.channels={found}")
