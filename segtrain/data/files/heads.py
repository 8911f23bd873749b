"""The size of a photo as the first bytes of its file say it, so that what is too large is never decoded."""

import io

from PIL import Image

from segtrain.data.files.jpeg import size_in

_JPEG, _PNG, _BMP = b"\xff\xd8", b"\x89PNG", b"BM"


def size_in_head(data: bytes) -> tuple[int, int] | None:
    """Return the stored ``(H, W)`` of a JPEG, PNG, BMP or what else Pillow knows; None where that cannot be told."""
    if data.startswith(_JPEG):
        return size_in(data)
    if data.startswith(_PNG) and len(data) >= 24:  # IHDR comes first (PNG 11.2.2): width, then height
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data.startswith(_BMP) and len(data) >= 26:
        width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        return abs(height), abs(width)
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, EOFError, IndexError):
        return None  # decoding says why
