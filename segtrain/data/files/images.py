"""Reading image and mask files, for training, evaluation and prediction alike.

The EXIF orientation of photos is applied, as viewers and labelling tools do; for masks made from
the stored pixels, see `segtrain.data.files.orientation.applies`.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from segtrain.data.files.decoders import decode
from segtrain.data.files.jpeg import reduction_for
from segtrain.data.files.orientation import SIDEWAYS, applies, orientation_in, turn
from segtrain.data.files.photos import ENDINGS, JPEG
from segtrain.data.files.stored import Colours, Request, Stored, fill_nodata
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

MAX_PIXELS = 2**30
"""Pixels of an image or mask, unless a key allows more; OpenCV's limit too, above it Pillow decodes."""
ANY_SIZE = sys.maxsize
TAIL = 8  # bytes, no less than the longest ending of a file
EXACT = 2**24  # float32 holds integers up to here exactly: it has 24 bits of mantissa


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
    """Pixels ``(H, W)`` or ``(H, W, C)`` as stored, their EXIF orientation 1..8, and the ``(H, W)`` in the file.

    The first ``colours`` channels are gray (1) or RGB (3); None: all are bands of any meaning.
    """

    pixels: Pixels
    colours: int | None
    orientation: int
    size: tuple[int, int]


def read_image(
    path: Path,
    *,
    channels: int = 3,
    mask_shape: tuple[int, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
    data: bytes | None = None,
) -> Pixels:
    """Read an image as ``(H, W, channels)``: RGB for 3, gray for 1, else the bands in the file.

    The dtype is uint8, uint16 or float32; other dtypes become float32 if that is lossless (float64
    is rounded). Alpha is dropped, gray is repeated for RGB. ``mask_shape``, the ``(H, W)`` of the
    mask, decides whether the EXIF orientation applies. ``data`` are the bytes of the file, where it lies
    in another: ``path`` then is its name. Raises `DataError` where the file is missing,
    damaged, of other channels, of more than ``max_pixels``, or holds NaN or infinity.
    """
    return read_reduced(path, None, channels=channels, mask_shape=mask_shape, max_pixels=max_pixels, data=data)[0]


def read_reduced(
    path: Path,
    at_least: tuple[int, int] | None,
    *,
    channels: int = 3,
    mask_shape: tuple[int, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
    data: bytes | None = None,
) -> tuple[Pixels, tuple[int, int]]:
    """Read an image as `read_image` does, a JPEG at a half, quarter or eighth if no side falls below ``at_least``.

    Returns its pixels, and the ``(H, W)`` that they have at full size.
    """
    decoded = decode_image(path, channels=channels, max_pixels=max_pixels, at_least=at_least, data=data)
    pixels = decoded.pixels if decoded.pixels.ndim == 3 else decoded.pixels[..., None]  # (H, W, C)
    pixels = with_channels(pixels, decoded.colours, channels, path)  # (H, W, channels)
    if not applies(decoded.orientation, decoded.size, mask_shape):
        return pixels, decoded.size
    size = decoded.size[::-1] if decoded.orientation >= SIDEWAYS else decoded.size
    return turn(pixels, decoded.orientation), size


def is_reduced(path: Path, size: Sequence[int], at_least: tuple[int, int]) -> bool:
    """Tell whether `read_reduced` may decode an image of that ``(H, W)`` at less than its size."""
    with path.open("rb") as file:
        return file.read(len(JPEG)) == JPEG and reduction_for((size[0], size[1]), at_least) > 1


def read_mask(
    path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> Pixels:
    """Read a mask as ``(H, W)`` of uint8 or uint16: the stored values, palette indices if it has one.

    ``by_colour`` reads colours instead, those of a palette too, as ``(H, W)`` of uint32 encoded like
    `segtrain.data.files.class_map.pack`. ``data`` is that of `read_image`. Raises
    `DataError` where the file is missing, damaged, of more than ``max_pixels``, or holds colours that
    were not asked for.
    """
    return decode_mask(path, by_colour=by_colour, max_pixels=max_pixels, data=data)[0]


def decode_mask(
    path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> tuple[Pixels, Colours | None]:
    """Read a mask as `read_mask` does, and its palette ``(values, 3)``; None without one."""
    pixels, colours, orientation, palette, *_ = decode_stored(path, max_pixels=max_pixels, data=data)
    if pixels.ndim == 3 and pixels.shape[2] == 2 and colours == 1:
        pixels = pixels[..., 0]  # drop the alpha of gray
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        raise DataError(f"{path}: the mask holds {pixels.shape[2]} channels or pages, expected one; keep the right one")
    if by_colour:
        return turn(_packed(pixels, palette, path), orientation), None
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., :3]).all():
        _refuse_alpha(pixels, path)
        pixels = pixels[..., 0]  # label values that were saved as gray RGB
    if pixels.ndim != 2:
        raise ColourMaskError(
            f"{path}: the mask holds colours, expected one channel of label values; save it as 8-bit gray or indexed, "
            "or map colours, such as class_map={0-0-0: 0, 128-0-0: 1}"
        )
    return turn(as_labels(pixels, path), orientation), palette


def _packed(pixels: Pixels, palette: Colours | None, path: Path) -> Pixels:
    """Encode the colour of each pixel as `class_map.pack` does: ``(H, W)`` of uint32."""
    if palette is not None:
        pixels = palette[pixels]  # (H, W, 3)
    if pixels.ndim == 2:
        pixels = np.repeat(as_labels(pixels, path)[..., None], 3, axis=2)  # gray as RGB
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: the mask holds {pixels.dtype}, expected colours of 8 bits; save it so")
    _refuse_alpha(pixels, path)
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _refuse_alpha(pixels: Pixels, path: Path) -> None:
    """Raise where alpha tells pixels of one colour apart, so that dropping it would merge them."""
    if pixels.shape[2] < 4 or (pixels[..., 3] == pixels[0, 0, 3]).all():
        return
    distinct = np.unique(pixels.reshape(-1, 4), axis=0)  # (colours, 4), slow, but few masks have such alpha
    doubled = (distinct[1:, :3] == distinct[:-1, :3]).all(axis=1)  # np.unique sorts
    if doubled.any():
        colour = "-".join(map(str, distinct[1:][doubled][0, :3].tolist()))
        raise DataError(
            f"{path}: the mask holds {colour} with several values of alpha, expected one for each colour; are its "
            "edges soft? Save it as RGB without them"
        )


def image_size(
    path: Path, *, channels: int = 3, mask_shape: tuple[int, ...] | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """Return the ``(H, W)`` that `read_image` would, from the header of JPEG and PNG files alone.

    Files that look incomplete, and other formats, are decoded. Raises `DataError` where the file is
    missing or damaged.
    """
    stored, orientation = _stored_size(path, channels, max_pixels)
    turned = orientation >= 5 and applies(orientation, stored, mask_shape)  # 5..8 swap height and width
    return stored[::-1] if turned else stored


def _stored_size(path: Path, channels: int, max_pixels: int) -> tuple[tuple[int, int], int]:
    """Return the ``(H, W)`` of the stored pixels, and their EXIF orientation."""
    if _is_complete(path):
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as image:
            return (image.height, image.width), orientation_in(image)
    decoded = decode_image(path, channels=channels, max_pixels=max_pixels)
    height, width = decoded.pixels.shape[:2]
    return (height, width), decoded.orientation


def _is_complete(path: Path) -> bool:
    """Tell whether a file begins and ends as a complete JPEG or PNG does."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(2)
        file.seek(-min(TAIL, path.stat().st_size), io.SEEK_END)  # seeking before the start would raise
        return start in ENDINGS and file.read().endswith(ENDINGS[start])
    return False


def decode_image(
    path: Path,
    *,
    channels: int | None = None,
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
    data: bytes | None = None,
) -> Decoded:
    """Decode to uint8, uint16 or float32 with the channels of the file: gray, RGB, RGBA or bands.

    Pixels that the file declares to hold no data are 0. ``channels`` decides the layout of NumPy arrays,
    ``at_least`` and ``data`` are those of `read_reduced`. Raises `DataError` as `read_image` does.
    """
    admit = partial(refuse_size, path, max_pixels=max_pixels)
    image = decode(Request(path, _read_bytes(path, data), admit, channels=channels, at_least=at_least))
    pixels = as_supported(fill_nodata(image), path)
    return Decoded(pixels, image.colours, image.orientation, image.size or (pixels.shape[0], pixels.shape[1]))


def decode_stored(
    path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> Stored:
    """Decode a mask to its stored values, palette indices if it has one, not turned upright.

    ``channels`` decides the layout of NumPy arrays; ``data`` is that of `read_image`. Raises `DataError` as
    `read_mask` does.
    """
    admit = partial(refuse_size, path, max_pixels=max_pixels)
    return decode(Request(path, _read_bytes(path, data), admit, for_mask=True, channels=channels))


def _read_bytes(path: Path, given: bytes | None) -> bytes:
    try:
        data = path.read_bytes() if given is None else given
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise DataError(f"{path}: the file is empty; restore or remove it")
    return data


def refuse_size(path: Path, size: tuple[int, ...], max_pixels: int) -> None:
    """Raise `DataError` where an image of that ``(H, W)`` has more pixels than allowed."""
    height, width = size
    if width * height > max_pixels:
        raise DataError(
            f"{path}: {width}x{height} pixels, expected at most {max_pixels} in all; cut it into tiles, or set "
            f"data.max_pixels={width * height}",
            kind="too large",
        )


def as_supported(pixels: Pixels, path: Path) -> Pixels:
    """Convert to uint8, uint16 or float32; raises where that would change values, or there are none or no numbers."""
    if not pixels.size:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise DataError(f"{path}: holds {size} pixels, expected one or more; restore or remove it")
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


def as_labels(pixels: Pixels, path: Path) -> Pixels:
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
