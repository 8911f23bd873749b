"""Decoding JPEG 2000 (.jp2, .j2k) without loss of bits, which no one library does for all files."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from segtrain.data.files.photos import colours_of, decode_with_opencv
from segtrain.data.files.stored import Request, Stored, UnreadableError

BEGINNINGS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # the box of a .jp2, and a bare codestream
_SIZ = b"\xff\x4f\xff\x51"  # markers SOC and SIZ, with which the codestream begins
_RGB = (16, 18)  # enumerated colour spaces sRGB and sYCC; 17 is gray


class Header(NamedTuple):
    """What the codestream says of its pixels; ``bits`` is that of the widest component."""

    height: int
    width: int
    components: int
    bits: int
    is_plain: bool  # unsigned components of one depth, all of the full size

    @property
    def words(self) -> str:
        """Describe it, for messages."""
        others = "" if self.is_plain else ", signed or not all alike"
        return f"JPEG 2000 of {self.components} channels of {self.bits} bits{others}"


def read_jpeg2000(request: Request) -> Stored:
    """Decode 1, 3 or 4 channels of 8 to 16 bits with OpenCV, 2 of 8 bits with Pillow.

    The others are scaled or cut to 8 bits by these. Raises `UnreadableError` for them, and `ValueError`
    where the file is damaged.
    """
    header = header_of(request.data)
    request.admit((header.height, header.width))
    boxes = request.data[: request.data.find(_SIZ)]
    if b"pclr" in boxes:
        raise UnreadableError("JPEG 2000 with a palette")
    if header.components > 2 and _colour_space(boxes) not in (*_RGB, None):
        raise UnreadableError(header.words)  # OpenCV would repeat the first of three bands that are said to be gray
    if not header.is_plain or not 8 <= header.bits <= 16 or header.components not in (1, 2, 3, 4):
        raise UnreadableError(header.words)
    if header.components != 2:
        pixels = decode_with_opencv(request.data)
    elif header.bits == 8:
        try:
            with Image.open(io.BytesIO(request.data)) as image:
                pixels = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"cannot be decoded: {error}") from None
    else:
        raise UnreadableError(header.words)
    if pixels is None:  # OpenCV refuses data that ends early, and some colour spaces
        raise UnreadableError(f"cannot be decoded ({header.words}), damaged or incomplete; restore or remove it")
    shape = (header.height, header.width) if header.components == 1 else (*header[:2], header.components)
    if pixels.shape != shape:
        raise UnreadableError(header.words)
    return Stored(pixels, colours_of(pixels))


def _colour_space(boxes: bytes) -> int | None:
    """Return the number of the enumerated colour space in the box colr; None without one, as with a profile."""
    start = boxes.find(b"colr") + len(b"colr")
    return int.from_bytes(boxes[start + 3 : start + 7], "big") if b"colr\x01" in boxes else None


def header_of(data: bytes) -> Header:
    """Read the marker SIZ (ISO 15444-1, A.5.1); raises `ValueError` where it is missing or cut."""
    start = data.find(_SIZ)
    siz = data[start + 4 :]
    count = int.from_bytes(siz[36:38], "big")
    parts = [siz[38 + 3 * number : 41 + 3 * number] for number in range(count)]  # depth, steps in x and y
    if start < 0 or not parts or len(parts[-1]) < 3:
        raise ValueError("damaged JPEG 2000 (no header in it)")
    right, bottom, left, top = (int.from_bytes(siz[at : at + 4], "big") for at in (4, 8, 12, 16))
    # bit 7 of the depth is the sign, the rest is the number of bits minus one
    depths = {part[0] for part in parts}
    is_plain = len(depths) == 1 and not any(depth & 0x80 for depth in depths) and {p[1:] for p in parts} == {b"\1\1"}
    return Header(bottom - top, right - left, count, max(depth & 0x7F for depth in depths) + 1, is_plain)
