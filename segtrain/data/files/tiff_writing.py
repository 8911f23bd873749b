"""Writing TIFF files a few rows at a time, in their place on the map."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from segtrain.data.files.tiff import NODATA
from segtrain.data.files.tiff_rows import DAMAGE, is_tiff
from segtrain.data.sample import Pixels
from segtrain.storage import taken_whole

_GEO = (33550, 33922, 34264, 34735, 34736, 34737)
"""The tags of GeoTIFF (OGC 19-008r4, annex A): pixel scale, tie points, transformation, and the keys of the CRS."""
_TILE = 512  # pixels; what programs for maps read at once
_ASCII = 2


class Place(NamedTuple):
    """Where an image lies on the map, as the tags of its file say it: code, type, count, value."""

    tags: tuple[tuple[int, int, int, Any], ...]


def place_of(path: Path) -> Place | None:
    """Return where an image lies on the map; None where its file does not say. Of other files than TIFF by rasterio."""
    if not is_tiff(path):
        return None
    with suppress(*DAMAGE), tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        found = tuple((tag.code, int(tag.dtype), tag.count, tag.value) for code in _GEO if (tag := tags.get(code)))
        return Place(found) if found else None
    return None


class TiffWriter:
    """A TIFF file ``(H, W)`` or ``(H, W, 3)`` that is given rows from top to bottom, and written when all are there.

    Rows wait uncompressed in a file beside it. It is tiled and compressed without loss (deflate), and appears whole or
    not at all. ``nodata`` is declared as the value of pixels that hold nothing, ``colours`` as the palette of values.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: Any,
        *,
        place: Place | None = None,
        nodata: int | None = None,
        colours: Sequence[Sequence[int]] = (),
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._place, self._nodata, self._colours = place, nodata, colours
        self._waiting = path.with_name(f".{path.name}.rows")
        self._file = self._waiting.open("wb")

    def write(self, rows: Pixels) -> None:
        """Add rows ``(rows, W)`` or ``(rows, W, 3)``."""
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)

    def rows(self) -> Pixels:
        """Return all rows that were written, without reading them into memory: only while it is open."""
        self._file.flush()
        return np.memmap(self._waiting, self.dtype, "r", shape=self.shape)

    def close(self) -> None:
        """Write the file."""
        pixels = self.rows()
        options: dict[str, Any] = {"photometric": "rgb" if len(self.shape) == 3 else "minisblack"}
        if self._colours:
            table = np.zeros((3, 2**8), np.uint16)
            table[:, : len(self._colours)] = np.array(self._colours, np.uint16).T * 257
            options = {"photometric": "palette", "colormap": table}
        extra = [(*tag, True) for tag in self._place.tags] if self._place else []
        if self._nodata is not None:
            text = str(self._nodata)
            extra.append((NODATA, _ASCII, len(text) + 1, text, True))
        with taken_whole(self.path) as partial, tifffile.TiffWriter(partial, bigtiff=pixels.nbytes > 2**31) as file:
            file.write(
                _tiles(pixels),
                shape=self.shape,
                dtype=self.dtype,
                tile=(_TILE, _TILE),
                compression="zlib",
                metadata=None,
                extratags=extra,
                maxworkers=1,
                **options,
            )
        self.discard()

    def discard(self) -> None:
        """Forget what was written."""
        self._file.close()
        self._waiting.unlink(missing_ok=True)


def _tiles(pixels: Pixels) -> Iterator[Pixels]:
    """Cut tiles row by row; tifffile fills up those at the border."""
    for top in range(0, pixels.shape[0], _TILE):
        band = np.asarray(pixels[top : top + _TILE])
        for left in range(0, pixels.shape[1], _TILE):
            yield np.ascontiguousarray(band[:, left : left + _TILE])
