"""What every decoder of a file is asked for, and what it returns."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.orientation import UPRIGHT
from segtrain.data.sample import Pixels

Colours: TypeAlias = NDArray[np.uint8]
Admit: TypeAlias = Callable[[tuple[int, int]], None]
"""Called with ``(height, width)``, before decoding where the header tells it; may raise."""


class Request(NamedTuple):
    """One file to decode: its path, for messages and for the files beside it, and its bytes.

    ``for_mask`` asks for the stored values: palette indices, and gray that is not inverted.
    ``channels`` is the number that the caller expects, if it knows one: it decides the layout of arrays.
    ``at_least``, ``(H, W)`` of the upright image, allows a decoder to return it at a half, quarter or eighth,
    as long as neither side falls below.
    """

    path: Path
    data: bytes
    admit: Admit = lambda _size: None
    for_mask: bool = False
    channels: int | None = None
    at_least: tuple[int, int] | None = None


class Stored(NamedTuple):
    """Pixels ``(H, W)`` or ``(H, W, C)`` as stored, of any dtype.

    The first ``colours`` channels are gray (1) or RGB (3); None: all are bands of any meaning.
    ``orientation`` is that of EXIF, 1..8. ``palette`` is ``(values, 3)`` of uint8 if pixels are indices
    into it. ``nodata`` is the value of pixels that hold nothing, one for all channels or one for each.
    ``size`` is the ``(H, W)`` in the file, where the pixels are reduced.
    """

    pixels: Pixels
    colours: int | None
    orientation: int = UPRIGHT
    palette: Colours | None = None
    nodata: tuple[float | None, ...] = ()
    size: tuple[int, int] | None = None


class UnreadableError(ValueError):
    """A file whose kind is known and whose pixels this decoder cannot read; another one, blind to EXIF, may."""

    def __init__(self, message: str, orientation: int = UPRIGHT) -> None:
        super().__init__(message)
        self.orientation = orientation


def bands_first(pixels: Pixels) -> Pixels:
    """Turn ``(C, H, W)`` to ``(H, W, C)``, or to ``(H, W)`` where C is 1."""
    turned: Pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return turned


def fill_nodata(image: Stored) -> Pixels:
    """Return the pixels with 0 where the file says that they hold no data: NaN and -9999 are no brightness."""
    values = image.nodata
    if not any(value is not None and value != 0 for value in values):
        return image.pixels
    pixels: Pixels = image.pixels.copy()
    for number, value in enumerate(values):
        part = pixels if len(values) == 1 else pixels[..., number]  # a view
        if value is None or not _can_hold(part.dtype, value):
            continue
        part[np.isnan(part) if np.isnan(value) else part == part.dtype.type(value)] = 0
    return pixels


def _can_hold(dtype: np.dtype[np.generic], value: float) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind not in "iu" or not float(value).is_integer():
        return False
    limits = np.iinfo(dtype.name)
    low, high = int(limits.min), int(limits.max)
    return low <= value <= high
