"""Inspection of image and mask files before training: damage, sizes, channels, values.

Results are cached between runs until a file's size or modification time changes.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segtrain.data.files.drawings import Drawing
from segtrain.data.files.images import MAX_PIXELS, decode_image, decode_mask, refuse_size
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.orientation import applies, orientation_in
from segtrain.data.files.photos import JPEG, PNG, refuse_corrupt_jpeg
from segtrain.data.files.stacked_masks import Stacking, read_layers
from segtrain.data.files.stored import Colours
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

_FORMAT = 3  # part of the cache key: raise it when the facts change, and old entries are not found
CHANNELS = {"1": 1, "L": 1, "LA": 2, "P": 3, "RGB": 3, "RGBA": 4, "CMYK": 3, "YCbCr": 3}
"""Channels after decoding, by Pillow mode."""


class ImageFacts(NamedTuple):
    """What an image file holds; ``colours`` and ``orientation`` as in `images.Decoded`.

    ``low`` and ``high`` are the least and the greatest pixel value, not measured for uint8.
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
        """Return the ``(H, W)`` that `read_image` would, given its mask's."""
        stored = self.height, self.width
        # orientations 5..8 swap height and width
        turned = self.orientation >= 5 and applies(self.orientation, stored, mask_shape)
        return stored[::-1] if turned else stored


class MaskFacts(NamedTuple):
    """What a mask holds: its ``(H, W)``, the pixels of each value, and the palette's RGB of each.

    ``problems`` are the annotations that a drawing had to leave out, a line each.
    """

    shape: tuple[int, int]
    counts: dict[int, int]
    colours: dict[int, tuple[int, int, int]]
    problems: tuple[str, ...] = ()


def look_into_image(path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Inspect an image; raises `DataError` where it is damaged, or holds what `read_image` refuses."""
    data = refuse_damaged(path)
    quick = None
    # byte 24 of a PNG is its bit depth: 16 bits have to be decoded, to measure the range of values
    if data[:2] == JPEG or (data[:2] == PNG and data[24:25] != b"\x10"):
        quick = _facts_of_head(data)
    if quick is not None:
        refuse_size(path, (quick.height, quick.width), max_pixels)
        return quick
    decoded = decode_image(path, channels=channels, max_pixels=max_pixels)
    pixels = decoded.pixels
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    height, width = pixels.shape[:2]
    facts = ImageFacts(height, width, decoded.orientation, channels, decoded.colours, pixels.dtype.name)
    if pixels.dtype == np.uint8:
        return facts
    return facts._replace(low=float(pixels.min()), high=float(pixels.max()))


def refuse_damaged(path: Path) -> bytes:
    """Return the bytes of a file; raise `DataError` for damage in a JPEG or PNG that decoders may pass over.

    PNG has checksums; JPEG has none, so damage that decodes to something is not found.
    """
    data = _read(path)
    if data[:2] == JPEG:
        refuse_corrupt_jpeg(path, data)
    elif data[:2] == PNG:
        _refuse_corrupt_png(path, data)
    return data


def look_into_mask(path: Path, *, by_colour: bool = False, max_pixels: int = MAX_PIXELS) -> MaskFacts:
    """Inspect a mask; raises `DataError` as `read_mask` does."""
    pixels, palette = decode_mask(path, by_colour=by_colour, max_pixels=max_pixels)
    # packed colours go up to 2**24, too many bins to count them in
    values, found = np.unique(pixels, return_counts=True) if by_colour else _count(pixels)
    held = values.tolist()
    colours: dict[int, tuple[int, int, int]] = {}
    if palette is not None:  # it may be shorter than the indices that the pixels hold
        colours = colours_in(palette, held)
    height, width = pixels.shape
    return MaskFacts((height, width), dict(zip(held, found.tolist(), strict=True)), colours)


def look_into_drawing(drawing: Drawing, size: tuple[int, int]) -> MaskFacts:
    """Draw a mask for an image of that ``(H, W)``, and inspect it."""
    values, problems = drawing.values(size)
    held, found = _count(values)
    return MaskFacts(size, dict(zip(held.tolist(), found.tolist(), strict=True)), {}, tuple(problems))


def colours_in(palette: Colours, values: Iterable[int]) -> dict[int, tuple[int, int, int]]:
    """Look up the colours that a palette ``(N, 3)`` gives to values."""
    return {value: tuple(palette[value].tolist()) for value in values if value < len(palette)}


def _count(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values of a label map and their counts; quicker than `np.unique`, which sorts."""
    counts = np.bincount(pixels.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # decoding says why


def _facts_of_head(data: bytes) -> ImageFacts | None:
    """Read the facts of an intact 8-bit file from its header; None where that does not tell them."""
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
    """Verify the checksums of a PNG's chunks; raises `DataError` where one is wrong."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    except UnidentifiedImageError:
        return  # decoding says so
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded: {error}; restore or remove it") from None


T = TypeVar("T", ImageFacts, MaskFacts)


class Inspector:
    """Inspects files with a cache between runs, which `keep` writes; safe to call from threads."""

    def __init__(
        self,
        files: Iterable[str],
        *,
        channels: int | None = None,
        max_pixels: int = MAX_PIXELS,
        stacking: Stacking | None = None,
    ) -> None:
        # by folders and not by files: runs with another seed or val_fraction find the same entry
        # texts and not paths, of which a million take seconds
        folders = sorted({str(Path(folder).absolute()) for folder in {file.rpartition(os.sep)[0] for file in files}})
        self._channels, self._max_pixels, self._stacking = channels, max_pixels, stacking
        key = f"{_FORMAT} {channels} {max_pixels} {folders}"
        self._key = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        self._known: dict[str, Any] = recall("files", self._key) or {}
        self._found: dict[str, Any] = {}

    def image(self, path: Path) -> ImageFacts:
        """Return `look_into_image` of a file, cached."""
        channels, limit = self._channels, self._max_pixels
        look = partial(look_into_image, path, channels=channels, max_pixels=limit)
        return ImageFacts(*self.facts(path, "image", lambda: list(look())))

    def mask(self, path: Path, *, by_colour: bool = False, place: int = 0) -> MaskFacts:
        """Return `look_into_mask` of a file, cached; where it holds all classes, of the one at that place."""
        if self._stacking and not by_colour:
            return self._layers(path, self._stacking)[place]
        kind = "colours" if by_colour else "mask"
        limit = self._max_pixels
        found = self.facts(path, kind, lambda: _plain(look_into_mask(path, by_colour=by_colour, max_pixels=limit)))
        return _mask_facts(found)

    def drawing(self, drawing: Drawing, size: tuple[int, int]) -> MaskFacts:
        """Return `look_into_drawing` of a mask for an image of that ``(H, W)``, cached."""
        kind = f"drawing {drawing.stamp} {size} {drawing.overlap}"
        return _mask_facts(self.facts(drawing.path, kind, lambda: _plain(look_into_drawing(drawing, size))))

    def _layers(self, path: Path, stacking: Stacking) -> list[MaskFacts]:
        """Inspect the masks of all classes in one file, cached: 0 and 1 are their values."""

        def look() -> list[Any]:
            layers = read_layers(path, stacking, max_pixels=self._max_pixels)  # (C, H, W)
            return [list(layers.shape[1:]), [int(ones) for ones in layers.sum(axis=(1, 2), dtype=np.int64)]]

        (height, width), ones = self.facts(path, f"{stacking.encoding} {len(stacking.class_names)}", look)
        pairs = [{0: height * width - count, 1: count} for count in ones]
        return [MaskFacts((height, width), {value: n for value, n in pair.items() if n}, {}) for pair in pairs]

    def facts(self, path: Path, kind: str, look: Callable[[], list[Any]]) -> list[Any]:
        """Return facts of one kind on a file: those cached, unless it changed, or else what ``look`` returns."""
        name = f"{kind} {path.absolute()}"
        stamp = [] if kind.startswith("drawing") else _stamp(path)  # drawings have their own, in their name
        known = self._found.get(name) or self._known.get(name)
        facts: list[Any] = known[1] if known and known[0] == stamp else look()
        self._found[name] = [stamp, facts]  # a dict of one key each, filled by threads
        return facts

    def keep(self) -> None:
        """Write what was found to the cache, for the next run over the same folders."""
        merged = {**self._known, **self._found}
        if merged != self._known:
            remember("files", self._key, merged)


def _plain(facts: MaskFacts) -> list[Any]:
    # dicts as lists of pairs: JSON would turn their integer keys into strings
    return [list(facts.shape), list(facts.counts.items()), list(facts.colours.items()), list(facts.problems)]


def _mask_facts(plain: list[Any]) -> MaskFacts:
    shape, counts, colours, problems = plain
    return MaskFacts((shape[0], shape[1]), dict(counts), {value: tuple(rgb) for value, rgb in colours}, tuple(problems))


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return [status.st_size, status.st_mtime_ns]
