"""Reading TIFF files a few rows at a time, in memory that their size does not change, with tifffile or rasterio."""

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile

from segtrain.data.files.images import ANY_SIZE, as_supported, refuse_size, with_channels
from segtrain.data.files.orientation import UPRIGHT
from segtrain.data.files.stored import Stored, bands_first, fill_nodata
from segtrain.data.files.tiff import BEGINNINGS, colours_in_page, nodata_of, only_image
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

_LARGEST = 2**30  # bytes of a strip or tile
DAMAGE = (
    *(tifffile.TiffFileError, zlib.error, struct.error, OSError),
    *(IndexError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, ZeroDivisionError),
)
"""What tifffile raises where a file or its pixels cannot be decoded."""


class Reader(Protocol):
    """Gives the pixels as stored, ``(rows, W)`` or ``(rows, W, C)``, of some rows."""

    def __call__(self, top: int, bottom: int) -> Pixels:
        """Read the rows from ``top`` up to ``bottom``."""


class TiffRows:
    """An open TIFF file: its ``(H, W)``, and its rows as `segtrain.data.files.images.read_image` gives the whole."""

    def __init__(
        self,
        path: Path,
        read: Reader,
        *,
        size: tuple[int, int],
        colours: int | None,
        nodata: float | None,
        channels: int,
    ) -> None:
        self.path, self.size, self.nodata = path, size, nodata
        self._read, self._colours, self._channels = read, colours, channels

    def __call__(self, top: int, bottom: int) -> Pixels:
        """Return the pixels ``(rows, W, channels)`` of some rows: uint8, uint16 or float32; nodata is 0.

        Raises `DataError` where they cannot be decoded or hold NaN.
        """
        stored = self._stored(top, bottom)
        pixels = as_supported(fill_nodata(Stored(stored, self._colours, nodata=(self.nodata,))), self.path)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        return with_channels(pixels, self._colours, self._channels, self.path)

    def is_empty(self, top: int, bottom: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which pixels of some rows hold no data in any channel: bool ``(rows, W)``."""
        stored = self._stored(top, bottom)
        if self.nodata is None:
            return np.zeros(stored.shape[:2], bool)
        found = np.asarray(np.isnan(stored) if np.isnan(self.nodata) else stored == self.nodata)
        return found if found.ndim == 2 else np.asarray(found.all(2))

    def _stored(self, top: int, bottom: int) -> Pixels:
        try:
            return self._read(top, bottom)
        except DAMAGE as error:
            raise DataError(f"{self.path}: cannot be decoded: {error}; restore or remove it") from None


@contextmanager
def open_rows(path: Path, *, channels: int, max_pixels: int = ANY_SIZE, at_least: int = 0) -> Iterator[TiffRows | None]:
    """Open a TIFF file of ``at_least`` so many pixels to be read by rows; None for others, and where that cannot be.

    Not of several pages, palettes, turned photos and low white. Raises `DataError` as `refuse_size`.
    """
    if not is_tiff(path):
        yield None
        return
    try:
        file = tifffile.TiffFile(path)
    except DAMAGE:
        yield None  # reading it as a whole says what is wrong
        return
    with file:
        yield _rows_of(file, path, channels, max_pixels, at_least)


def is_tiff(path: Path) -> bool:
    """Tell whether a file begins as a TIFF does; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) in BEGINNINGS
    except OSError:
        return False


def _rows_of(file: tifffile.TiffFile, path: Path, channels: int, max_pixels: int, at_least: int) -> TiffRows | None:
    try:
        image = only_image(file)
        page: Any = image.keyframe
        plain = page.photometric.name in ("MINISBLACK", "RGB", "YCBCR") and len(image.pages) == 1
        plain = plain and int(page.tags.valueof("Orientation", UPRIGHT)) == UPRIGHT
        # a head may claim more pixels than there are strips for, or one strip of gigabytes
        plain = plain and len(page.dataoffsets) == math.prod(page.chunked)
        plain = plain and math.prod(page.chunks) * page.dtype.itemsize <= _LARGEST
    except DAMAGE:
        return None
    size = (int(page.imagelength), int(page.imagewidth))
    if not plain or size[0] * size[1] < at_least:
        return None
    refuse_size(path, size, max_pixels)
    bands = (int(page.samplesperpixel),) if page.samplesperpixel > 1 else ()
    segments = _Segments(page) if page.photometric.name != "YCBCR" else None
    read: Reader | None = segments if segments and segments.decodes else _by_rasterio(path)
    if read is None:
        return None
    return TiffRows(
        path, read, size=size, colours=colours_in_page(page, bands), nodata=nodata_of(page), channels=channels
    )


class _Segments:
    """Reads rows from the strips or tiles of a page, and keeps those that the next rows need too."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._planes = page.chunked[0] if page.planarconfig == 2 else 1  # 2: each band lies apart
        self._length = page.tilelength if page.is_tiled else page.rowsperstrip
        self._across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        self._in_plane = len(page.dataoffsets) // self._planes
        self._held: dict[int, tuple[Pixels | None, tuple[int, ...], tuple[int, ...]]] = {}

    @property
    def decodes(self) -> bool:
        """Whether the first segment can be decoded: some compressions need another library."""
        try:
            self._segment(0)
        except DAMAGE:
            return False
        return True

    def __call__(self, top: int, bottom: int) -> Pixels:
        """Return rows ``(rows, W)`` or ``(rows, W, C)``."""
        page = self._page
        bands = int(page.samplesperpixel)
        rows = np.full((bottom - top, page.imagewidth, bands), page.nodata, page.dtype.newbyteorder("="))
        first, last = top // self._length, (bottom - 1) // self._length
        wanted = [
            plane * self._in_plane + row * self._across + column
            for plane in range(self._planes)
            for row in range(first, last + 1)
            for column in range(self._across)
        ]
        self._held = {index: self._held[index] for index in wanted if index in self._held}
        for index in wanted:
            pixels, (plane, _, at_row, at_column, _), (_, length, width, samples) = self._segment(index)
            if pixels is None:  # of a sparse file
                continue
            width = min(width, page.imagewidth - at_column)  # tiles at the border have their full size
            start, end = max(top, at_row), min(bottom, at_row + length)
            part = pixels[0, start - at_row : end - at_row, :width]
            place = slice(plane, plane + 1) if self._planes > 1 else slice(0, samples)
            rows[start - top : end - top, at_column : at_column + width, place] = part
        return rows if bands > 1 else rows[..., 0]

    def _segment(self, index: int) -> tuple[Pixels | None, tuple[int, ...], tuple[int, ...]]:
        """Decode a strip or tile ``(1, rows, columns, bands)``; with its place in the image, and its shape there."""
        if index not in self._held:
            page, handle = self._page, self._page.parent.filehandle
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index]) if page.databytecounts[index] else None
            self._held[index] = page.decode(data, index)
        return self._held[index]


def _by_rasterio(path: Path) -> Reader | None:
    """Return a reader of what tifffile alone cannot decode; None without rasterio, or where it cannot either."""
    try:
        import rasterio
        from rasterio.windows import Window
    except ImportError:
        return None
    try:
        with rasterio.open(path) as file:
            width = file.width
    except (rasterio.errors.RasterioError, OSError):
        return None

    def read(top: int, bottom: int) -> Pixels:
        try:
            with rasterio.open(path) as file:  # each time: GDAL keeps its blocks itself
                return bands_first(file.read(window=Window(0, top, width, bottom - top)))
        except rasterio.errors.RasterioError as error:
            raise ValueError(str(error)) from None

    return read
