"""Reading image and mask files, for training, evaluation and prediction alike.

The EXIF orientation of photos is applied, as viewers and labelling tools do; for masks made from
the stored pixels, see `segtrain.data.files.orientation.applies`.
"""

import io
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segtrain.data.files.orientation import applies, orientation_in, orientation_of, turn
from segtrain.data.files.tiff import BEGINNINGS as TIFF
from segtrain.data.files.tiff import read_tiff
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

MAX_PIXELS = 2**30
"""Pixels of an image or mask, unless a key allows more; OpenCV's limit too, above it Pillow decodes."""
ANY_SIZE = sys.maxsize
JPEG, PNG, RIFF = b"\xff\xd8", b"\x89P", b"RI"  # first two bytes of files; WebP is a RIFF
ENDINGS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}
"""Last bytes of a complete JPEG (marker EOI) and PNG (chunk IEND with its CRC), by their first two."""
TAIL = 8  # bytes, no less than the longest ending
MOVING = {RIFF: b"ANIM", PNG: b"acTL"}
"""The chunk near the beginning of animated WebP and PNG files."""
HEAD = 64  # bytes in which that chunk stands
AS_THEY_STAND = ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F")
"""Pillow modes whose arrays hold the values of the file."""
EXACT = 2**24  # float32 holds integers up to here exactly: it has 24 bits of mantissa

Image.MAX_IMAGE_PIXELS = None  # aerial images exceed Pillow's limit; ours is `MAX_PIXELS`
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our errors name the file and the remedy


Colours: TypeAlias = NDArray[np.uint8]


class ColourMaskError(DataError):
    """A mask that holds colours where label values were expected."""


class ChannelsError(DataError):
    """An image with another number of channels than asked for."""

    def __init__(self, path: Path, found: int, expected: int, remedy: str) -> None:
        super().__init__(f"{path}: the image has {found} channels, expected {expected}; {remedy}", kind="channels")
        self.path, self.found, self.expected = path, found, expected

    def of_checkpoint(self) -> DataError:
        """Return the error to show where a trained model sets the number of channels."""
        return DataError(
            f"{self.path}: the image has {self.found} channels, the checkpoint takes {self.expected}; give images of "
            f"{self.expected} channels, or a checkpoint trained with data.channels={self.found}"
        )


class Decoded(NamedTuple):
    """Pixels ``(H, W)`` or ``(H, W, C)`` as stored, and their EXIF orientation 1..8.

    The first ``colours`` channels are gray (1) or RGB (3); None: all are bands of any meaning.
    """

    pixels: Pixels
    colours: int | None
    orientation: int


def read_image(
    path: Path, *, channels: int = 3, mask_shape: tuple[int, ...] | None = None, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Read an image as ``(H, W, channels)``: RGB for 3, gray for 1, else the bands in the file.

    The dtype is uint8, uint16 or float32; other dtypes become float32 if that is lossless (float64
    is rounded). Alpha is dropped, gray is repeated for RGB. ``mask_shape``, the ``(H, W)`` of the
    mask, decides whether the EXIF orientation applies. Raises `DataError` where the file is missing,
    damaged, of other channels, of more than ``max_pixels``, or holds NaN or infinity.
    """
    decoded = decode_image(path, max_pixels=max_pixels)
    pixels = decoded.pixels if decoded.pixels.ndim == 3 else decoded.pixels[..., None]  # (H, W, C)
    pixels = with_channels(pixels, decoded.colours, channels, path)  # (H, W, channels)
    is_turned = applies(decoded.orientation, pixels.shape[:2], mask_shape)
    return turn(pixels, decoded.orientation) if is_turned else pixels


def read_mask(path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a mask as ``(H, W)`` of uint8 or uint16: the stored values, palette indices if it has one.

    ``by_colour`` reads colours instead, those of a palette too, as ``(H, W)`` of uint32 encoded like
    `segtrain.data.files.class_map.pack`. Raises `DataError` where the file is missing, damaged, of
    more than ``max_pixels``, or holds colours that were not asked for.
    """
    return decode_mask(path, by_colour=by_colour, max_pixels=max_pixels)[0]


def decode_mask(path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, Colours | None]:
    """Read a mask as `read_mask` does, and its palette ``(values, 3)``; None without one."""
    data = _read_bytes(path)
    pixels, orientation, palette = _decode_stored_mask(path, data, max_pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., 0]  # drop the alpha of gray
    if by_colour:
        return turn(_packed(pixels, palette, path), orientation), None
    has_rgb = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
    if has_rgb and (pixels[..., :1] == pixels[..., :3]).all():
        pixels = pixels[..., 0]  # label values that were saved as gray RGB
    if pixels.ndim != 2:
        raise ColourMaskError(
            f"{path}: the mask holds colours, expected one channel of label values; save it as 8-bit gray or indexed, "
            "or map colours, such as class_map={0-0-0: 0, 128-0-0: 1}"
        )
    return turn(_as_labels(pixels, path), orientation), palette


def _packed(pixels: Pixels, palette: Colours | None, path: Path) -> Pixels:
    """Encode the colour of each pixel as `class_map.pack` does: ``(H, W)`` of uint32."""
    if palette is not None:
        pixels = palette[pixels]  # (H, W, 3)
    if pixels.ndim == 2:
        pixels = np.repeat(_as_labels(pixels, path)[..., None], 3, axis=2)  # gray as RGB
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: the mask holds {pixels.dtype}, expected colours of 8 bits; save it so")
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def image_size(
    path: Path, *, mask_shape: tuple[int, ...] | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """Return the ``(H, W)`` that `read_image` would, from the header of JPEG and PNG files alone.

    Files that look incomplete, and other formats, are decoded. Raises `DataError` where the file is
    missing or damaged.
    """
    stored, orientation = _stored_size(path, max_pixels)
    turned = orientation >= 5 and applies(orientation, stored, mask_shape)  # 5..8 swap height and width
    return stored[::-1] if turned else stored


def _stored_size(path: Path, max_pixels: int) -> tuple[tuple[int, int], int]:
    """Return the ``(H, W)`` of the stored pixels, and their EXIF orientation."""
    if _is_complete(path):
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as image:
            return (image.height, image.width), orientation_in(image)
    decoded = decode_image(path, max_pixels=max_pixels)
    height, width = decoded.pixels.shape[:2]
    return (height, width), decoded.orientation


def _is_complete(path: Path) -> bool:
    """Tell whether a file begins and ends as a complete JPEG or PNG does."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(2)
        file.seek(-min(TAIL, path.stat().st_size), io.SEEK_END)  # seeking before the start would raise
        return start in ENDINGS and file.read().endswith(ENDINGS[start])
    return False


def decode_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode to uint8, uint16 or float32 with the channels of the file: gray, RGB, RGBA or bands.

    OpenCV decodes; tifffile and Pillow take what it cannot decode or might get wrong. Raises
    `DataError` as `read_image` does.
    """
    data = _read_bytes(path)
    if data.startswith(TIFF):  # not by OpenCV, which reads the first page alone
        image, _ = _decode_tiff(path, data, max_pixels, palette=False)
        return image._replace(pixels=_as_supported(image.pixels, path))
    _refuse_frames(path, data)
    _refuse_cut_webp(path, data)
    orientation = orientation_of(data)
    # OpenCV fills the missing part of a truncated JPEG with gray, silently
    if _has_end(data):
        pixels = _decode_with_opencv(data)
        if pixels is not None:
            refuse_size(path, pixels.shape[:2], max_pixels)
            return _coloured(_as_supported(pixels, path), orientation)
    elif data[:2] == JPEG:
        refuse_corrupt_jpeg(path, data)
    pixels, _ = _decode_with_pillow(path, data, max_pixels, palette=False)
    return _coloured(_as_supported(pixels, path), orientation)


def _has_end(data: bytes) -> bool:
    """Whether a JPEG ends as it should, and a PNG holds its last chunk, whatever follows it; True for other files."""
    ending = ENDINGS.get(data[:2], b"")
    return ending in data if data[:2] == PNG else data.endswith(ending)


def _coloured(pixels: Pixels, orientation: int) -> Decoded:
    """Wrap pixels with the number of their channels that are colours; the rest is alpha."""
    has_rgb = pixels.ndim == 3 and pixels.shape[2] > 2  # RGB or RGBA, else gray or gray and alpha
    return Decoded(pixels, 3 if has_rgb else 1, orientation)


def _decode_tiff(path: Path, data: bytes, max_pixels: int, *, palette: bool) -> tuple[Decoded, Colours | None]:
    """Decode a TIFF; ``palette`` asks for palette indices and the palette instead of RGB."""
    try:
        image = read_tiff(data, admit=partial(refuse_size, path, max_pixels=max_pixels))
    except ValueError as error:
        remedy = "" if ";" in str(error) else "; restore or remove it"  # some messages have their own
        raise DataError(f"{path}: {error}{remedy}") from None
    if image.palette is None or palette:
        return Decoded(image.pixels, image.colours, image.orientation), image.palette
    return Decoded(image.palette[image.pixels], 3, image.orientation), None


def _decode_stored_mask(path: Path, data: bytes, max_pixels: int) -> tuple[Pixels, int, Colours | None]:
    """Decode a mask to its stored values; return them, the EXIF orientation, and the palette or None."""
    if data.startswith(TIFF):
        (pixels, _, orientation), palette = _decode_tiff(path, data, max_pixels, palette=True)
        if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
            found = f"{pixels.shape[2]} channels or pages"
            raise DataError(f"{path}: the mask holds {found}, expected one; keep the right one")
        return pixels, orientation, palette
    _refuse_frames(path, data)
    _refuse_cut_webp(path, data)
    if _is_wide_png(data):
        wide = _decode_with_opencv(data)
        if wide is not None:
            refuse_size(path, wide.shape[:2], max_pixels)
            return wide, orientation_of(data), None
    # Pillow and not OpenCV, which would turn palette indices into colours
    pixels, palette = _decode_with_pillow(path, data, max_pixels, palette=True)
    if pixels.ndim == 2:
        pixels = pixels // _stretch_of(data)
    return pixels, orientation_of(data), palette


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


def _refuse_cut_webp(path: Path, data: bytes) -> None:
    """Raise where a WebP is shorter than its header says."""
    length = int.from_bytes(data[4:8], "little") + 8  # RIFF does not count its header of 8 bytes
    if data[:2] == RIFF and length > len(data):
        raise DataError(f"{path}: cannot be decoded: the file is truncated; restore or remove it")


def _is_wide_png(data: bytes) -> bool:
    """Tell whether a file is a PNG of 16 bits in several channels, which Pillow reduces to 8 bits."""
    # IHDR: byte 24 is the bit depth, byte 25 the colour type: 2 RGB, 4 gray and alpha, 6 RGBA
    return data[:2] == PNG and data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")


def _stretch_of(data: bytes) -> int:
    """Return the factor by which Pillow scales gray PNGs of 2 or 4 bits to 0..255; 1 for others."""
    is_gray_png = data[:2] == PNG and data[25:26] == b"\0"
    return {2: 85, 4: 17}.get(data[24], 1) if is_gray_png else 1  # 255 / 3 and 255 / 15


def _refuse_frames(path: Path, data: bytes) -> None:
    """Raise for an animated file: nothing says which of its frames is meant."""
    if MOVING.get(data[:2], b"\0none") in data[:HEAD] or (data[:3] == b"GIF" and _moves(data)):
        raise DataError(f"{path}: holds several frames, expected one image; save the frame that counts on its own")


def _moves(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, EOFError):
        return False  # decoding says why


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise DataError(f"{path}: the file is empty; restore or remove it")
    return data


def _decode_with_opencv(data: bytes) -> Pixels | None:
    """Decode to gray, RGB or RGBA, from OpenCV's BGR; None where OpenCV cannot."""
    try:
        # UNCHANGED keeps 16 bits and alpha, and does not apply the EXIF orientation: `read_image` does
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None  # Pillow finds the reason
    if pixels is None or pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _decode_with_pillow(path: Path, data: bytes, max_pixels: int, *, palette: bool) -> tuple[Pixels, Colours | None]:
    """Decode, or raise `DataError` with the reason; ``palette`` asks for palette indices and the palette."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            refuse_size(path, image.size[::-1], max_pixels)
            keep = image.mode in AS_THEY_STAND or (palette and image.mode == "P")
            pixels = np.asarray(image if keep else image.convert("RGB"))
            colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3) if keep and image.mode == "P" else None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image of a known format, or damaged; restore or remove it") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded: {error}; restore or remove it") from None
    if _is_wide_png(data):  # OpenCV did not take it, and Pillow has cut it to 8 bits
        raise DataError(f"{path}: too large a PNG to be read in 16 bits; cut it into tiles, or save it as TIFF")
    return (pixels.astype(np.uint8) if pixels.dtype == bool else pixels), colours  # bool is mode "1"


def refuse_size(path: Path, size: tuple[int, ...], max_pixels: int) -> None:
    """Raise `DataError` where an image of that ``(H, W)`` has more pixels than allowed."""
    height, width = size
    if width * height > max_pixels:
        raise DataError(
            f"{path}: {width}x{height} pixels, expected at most {max_pixels} in all; cut it into tiles, or set "
            f"data.max_pixels={width * height}",
            kind="too large",
        )


def _as_supported(pixels: Pixels, path: Path) -> Pixels:
    """Convert to uint8, uint16 or float32; raises where that would change values or they are no numbers."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == bool:
        black_and_white: Pixels = pixels.astype(np.uint8) * np.uint8(255)
        return black_and_white
    if pixels.dtype.kind not in "iuf":
        raise DataError(f"{path}: holds {pixels.dtype}, expected integers or floats; convert the file")
    is_wide = pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2
    if is_wide and max(-int(pixels.min()), int(pixels.max())) > EXACT:
        raise DataError(f"{path}: holds {pixels.dtype} beyond {EXACT}, which float32 cannot hold; save it as float32")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is refused below
        pixels = pixels.astype(np.float32, copy=False)
    bad = pixels.size - np.count_nonzero(np.isfinite(pixels))
    if bad:
        text = f"{path}: {bad} of {pixels.size} pixel values are NaN or infinite; fill them in, or remove it"
        raise DataError(text, kind="not finite")
    return pixels


def _as_labels(pixels: Pixels, path: Path) -> Pixels:
    """Convert label values to uint8 or uint16; raises where they are not whole numbers 0..65535."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    whole = pixels.dtype.kind in "iu" or (pixels.dtype.kind == "f" and (pixels == np.round(pixels)).all())
    if not whole or pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise DataError(
            f"{path}: the mask holds {pixels.dtype} from {pixels.min()} to {pixels.max()}, expected whole numbers "
            "0..65535 as label values; save it as 8-bit or 16-bit gray",
            kind="mask values",
        )
    return pixels.astype(np.uint8 if pixels.max() < 2**8 else np.uint16, copy=False)


def fits(found: int, colours: int | None, channels: int) -> bool:
    """Tell whether an image of ``found`` channels, ``colours`` of them gray or RGB, reads as ``channels``."""
    return channels in (found, colours) or (channels, colours) in ((3, 1), (1, 3))  # gray <-> RGB


def with_channels(pixels: Pixels, colours: int | None, channels: int, path: Path) -> Pixels:
    """Convert ``(H, W, C)`` to the number of channels asked for; raises `ChannelsError` if it cannot."""
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if not fits(found, colours, channels):
        raise ChannelsError(path, found, channels, f"convert it, or train with data.channels={found}")
    if channels == colours:  # drop alpha
        return np.ascontiguousarray(pixels[..., :channels])
    if channels == 3:
        return np.repeat(pixels[..., :1], 3, axis=2)
    return cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)[..., None]
