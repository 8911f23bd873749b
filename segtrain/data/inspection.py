"""A look into whole files before training: what they hold, and whether they are whole.

What was found in a file is remembered until its size or time of change is another one.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segtrain.data.images import (
    JPEG,
    MAX_PIXELS,
    PNG,
    decode_image,
    decode_mask,
    refuse_corrupt_jpeg,
    refuse_size,
)
from segtrain.data.memory import recall, remember
from segtrain.data.orientation import applies, orientation_in
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

_FORMAT = 1
"""Of what is kept: other entries are not found, and so not misread."""
CHANNELS = {"1": 1, "L": 1, "LA": 2, "P": 3, "RGB": 3, "RGBA": 4, "CMYK": 3, "YCbCr": 3}
"""Channels of what Pillow's modes are decoded to."""


class ImageFacts(NamedTuple):
    """What an image file holds; ``colours`` of its channels are gray or RGB, or all are bands.

    ``low`` and ``high`` are the least and the greatest pixel value; of 8 bits, nobody looks.
    """

    height: int
    width: int
    orientation: int
    channels: int
    colours: int | None
    dtype: str = "uint8"
    low: float = 0
    high: float = 255

    def size(self, mask_shape: tuple[int, ...] | None) -> tuple[int, int]:
        """Give the ``(H, W)`` that `read_image` gives."""
        stored = self.height, self.width
        turned = self.orientation >= 5 and applies(self.orientation, stored, mask_shape)
        return stored[::-1] if turned else stored


class MaskFacts(NamedTuple):
    """What a mask file holds: its ``(H, W)``, how often each value is there, and the colour that a palette gives it."""

    shape: tuple[int, int]
    counts: dict[int, int]
    colours: dict[int, tuple[int, int, int]]


def look_into_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read a whole file; raises `DataError` where it is damaged, or holds what `read_image` refuses."""
    data = refuse_damaged(path)
    quick = None
    if data[:2] == JPEG or (data[:2] == PNG and data[24:25] != b"\x10"):  # of 16 bits, the range is looked at
        quick = _facts_of_head(data)
    if quick is not None:
        refuse_size(path, (quick.height, quick.width), max_pixels)
        return quick
    decoded = decode_image(path, max_pixels=max_pixels)
    pixels = decoded.pixels
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    height, width = pixels.shape[:2]
    facts = ImageFacts(height, width, decoded.orientation, channels, decoded.colours, pixels.dtype.name)
    return facts if pixels.dtype == np.uint8 else facts._replace(low=float(pixels.min()), high=float(pixels.max()))


def refuse_damaged(path: Path) -> bytes:
    """Raise `DataError` for damage in a JPEG or a PNG of which decoders may say nothing; return what the file holds.

    A PNG has check sums; a JPEG has none, so that damage which decodes to something is not found.
    """
    data = _read(path)
    if data[:2] == JPEG:
        refuse_corrupt_jpeg(path, data)
    elif data[:2] == PNG:
        _refuse_corrupt_png(path, data)
    return data


def look_into_mask(path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS) -> MaskFacts:
    """Read a whole mask; raises `DataError` as `read_mask` does."""
    pixels, palette = decode_mask(path, by_colour=by_colour, max_pixels=max_pixels)
    values, found = np.unique(pixels, return_counts=True) if by_colour else _count(pixels)
    held = values.tolist()
    colours = (
        {} if palette is None else {value: tuple(palette[value].tolist()) for value in held if value < len(palette)}
    )
    height, width = pixels.shape
    return MaskFacts((height, width), dict(zip(held, found.tolist(), strict=True)), colours)


def _count(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the values of label maps and how often each is there, which is quicker than sorting all pixels."""
    counts = np.bincount(pixels.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # decoding says why


def _facts_of_head(data: bytes) -> ImageFacts | None:
    """Tell from its head what a file holds that is whole."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            channels = CHANNELS.get(image.mode)
            if channels is None or getattr(image, "is_animated", False):
                return None
            colours = 3 if channels > 2 else 1
            return ImageFacts(image.height, image.width, orientation_in(image), channels, colours)
    except (OSError, SyntaxError, ValueError):
        return None


def _refuse_corrupt_png(path: Path, data: bytes) -> None:
    """Check the sums that a PNG has of each of its parts."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    except UnidentifiedImageError:
        return  # decoding says so
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded: {error}; restore or remove it") from None


T = TypeVar("T", ImageFacts, MaskFacts)


class Inspector:
    """Looks into files, or remembers what was found in them; `keep` writes that down."""

    def __init__(self, files: Iterable[Path], *, max_pixels: int = MAX_PIXELS) -> None:
        folders = sorted({str(file.parent.absolute()) for file in files})
        self._max_pixels = max_pixels
        self._key = hashlib.sha256(f"{_FORMAT} {max_pixels} {folders}".encode(errors="surrogateescape")).hexdigest()
        self._known: dict[str, Any] = recall("files", self._key) or {}
        self._found: dict[str, Any] = {}

    def image(self, path: Path) -> ImageFacts:
        """Do what `look_into_image` does."""
        return ImageFacts(*self._facts(path, "image", lambda: list(look_into_image(path, max_pixels=self._max_pixels))))

    def mask(self, path: Path, *, by_colour: bool = False) -> MaskFacts:
        """Do what `look_into_mask` does."""
        kind = "colours" if by_colour else "mask"
        limit = self._max_pixels
        found = self._facts(path, kind, lambda: _plain(look_into_mask(path, by_colour=by_colour, max_pixels=limit)))
        shape, counts, colours = found
        return MaskFacts((shape[0], shape[1]), dict(counts), {value: tuple(rgb) for value, rgb in colours})

    def _facts(self, path: Path, kind: str, look: Callable[[], list[Any]]) -> list[Any]:
        name = f"{kind} {path.absolute()}"
        stamp = _stamp(path)
        known = self._known.get(name)
        facts: list[Any] = known[1] if known and known[0] == stamp else look()
        self._found[name] = [stamp, facts]  # a dict of one key each, filled by threads
        return facts

    def keep(self) -> None:
        """Remember what was found, for the next run over the same folders."""
        merged = {**self._known, **self._found}
        if merged != self._known:
            remember("files", self._key, merged)


def _plain(facts: MaskFacts) -> list[Any]:
    return [list(facts.shape), list(facts.counts.items()), list(facts.colours.items())]


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return [status.st_size, status.st_mtime_ns]
