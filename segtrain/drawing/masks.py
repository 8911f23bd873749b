"""Writing what was predicted of an image: masks of values, labels or colours, scores, overlays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.tiff_writing import Place, TiffWriter
from segtrain.data.palette import Colour, colorize, flatten, overlay
from segtrain.data.sample import Pixels
from segtrain.drawing.pictures import as_rgb
from segtrain.storage import write_picture

Values: TypeAlias = Literal["original", "labels", "palette", "colours"]
"""What masks hold: the values or colours of the data's own masks, class numbers, these with a palette, colours."""
_FULL = 2**16 - 1  # of a score of 1
_OVERLAY = 4096  # pixels of the longer side of the overlay of an image that is read by rows
_ROWS = 256  # of an overlay that are drawn at once


class Form(NamedTuple):
    """How the masks of an image are written: ``(H, W)`` of it, the suffix, and for TIFF its place on the map.

    ``is_long`` is an image that is predicted row by row, too large for formats that are written at once.
    """

    size: tuple[int, int]
    suffix: str = ".png"
    place: Place | None = None
    nodata: int | None = None
    is_long: bool = False


class PngPicture:
    """A PNG that is given rows from top to bottom, with the methods of `TiffWriter`."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, *, colours: Sequence[Colour] = ()) -> None:
        self.path, self.colours = path, colours
        self._parts: list[Pixels] = []
        self._shape, self._dtype = shape, dtype

    def write(self, rows: Pixels) -> None:
        """Add rows ``(rows, W)`` or ``(rows, W, 3)``."""
        self._parts.append(rows.astype(self._dtype, copy=False))

    def close(self) -> None:
        """Write the file, with a palette if it has colours."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        write_picture(self.path, pixels, palette=self.colours or None)

    def discard(self) -> None:
        """Forget what was written."""
        self._parts = []


def open_picture(
    path: Path, form: Form, *, dtype: Any, bands: tuple[int, ...] = (), colours: Sequence[Colour] = ()
) -> "PngPicture | TiffWriter":
    """Open a picture to be written by rows, in the form's suffix; ``bands`` is (3,) for RGB, ``colours`` a palette."""
    shape = (*form.size, *bands)
    named = path.with_name(f"{path.name}{form.suffix}")
    if form.suffix == ".png":
        return PngPicture(named, shape, dtype, colours=colours)
    nodata = None if bands else form.nodata
    return TiffWriter(named, shape, dtype, place=form.place, nodata=nodata, colours=colours)


class _Pictures:
    """Pictures that are written together."""

    pictures: "Sequence[PngPicture | TiffWriter]"

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [picture.path for picture in self.pictures]

    def close(self) -> None:
        """Write the files."""
        for picture in self.pictures:
            picture.close()

    def discard(self) -> None:
        """Forget what was written."""
        for picture in self.pictures:
            picture.discard()


class MaskWriter(_Pictures):
    """Writes the mask of one image by rows: one file, or where classes overlap one for each, in folders of their names.

    ``values`` says what it holds, and ``mask_values`` what the data's own masks hold for each label. A palette and
    colours show classes that overlap in one file, of which later ones cover earlier ones. Pixels that hold no data
    get the form's ``nodata``.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        form: Form,
        *,
        values: Values,
        class_names: Sequence[str] = (),
        mask_values: Sequence[int | Sequence[int]] = (),
        palette: Sequence[Colour] = (),
    ) -> None:
        self.values, self.palette, self.form = values, palette, form
        table = np.array(mask_values if values == "original" and len(mask_values) else range(256))
        self.table = table.astype(np.uint8 if table.max() < 2**8 else np.uint16)  # (labels,), or (labels, 3) if colours
        self.is_apart = bool(class_names) and values in ("original", "labels")
        places = [folder / each for each in class_names] if self.is_apart else [folder]
        bands = (3,) if values == "colours" or self.table.ndim == 2 else ()
        shown = palette if values == "palette" else ()
        dtype = np.uint8 if values in ("palette", "colours") else self.table.dtype
        self.pictures = [open_picture(place / name, form, dtype=dtype, bands=bands, colours=shown) for place in places]

    def write(self, labels: NDArray[np.uint8], empty: NDArray[np.bool_] | None = None) -> None:
        """Add labels ``(rows, W)`` or ``(C, rows, W)``; ``empty`` are pixels of no data."""
        for picture, mask in zip(self.pictures, list(labels) if self.is_apart else [labels], strict=True):
            if self.values == "colours":
                rows: Pixels = colorize(mask, self.palette)
            elif self.values == "palette":
                rows = flatten(mask).astype(np.uint8) if mask.ndim == 3 else mask
            else:
                rows = self.table[mask]
            if empty is not None and self.form.nodata is not None and empty.any():
                rows = np.where(empty if rows.ndim == 2 else empty[..., None], rows.dtype.type(self.form.nodata), rows)
            picture.write(rows)


class ScoreWriter(_Pictures):
    """Writes numbers from 0 to 1 of one image row by row, as 16 bits of gray: 65535 is 1."""

    def __init__(self, paths: Sequence[Path], form: Form) -> None:
        form = form._replace(nodata=None)
        self.pictures = [open_picture(path, form, dtype=np.uint16) for path in paths]

    def write(self, scores: NDArray[np.float32]) -> None:
        """Add scores ``(files, rows, W)``."""
        for picture, rows in zip(self.pictures, scores, strict=True):
            picture.write(np.rint(rows * _FULL).astype(np.uint16))


class OverlayWriter:
    """Writes an image with its labels blended over it, row by row; of a long image only every so manieth pixel.

    ``value_range`` are the pixel values of black and white.
    """

    def __init__(
        self,
        path: Path,
        form: Form,
        palette: Sequence[Colour],
        *,
        alpha: float,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.path, self.palette, self.alpha, self.value_range = path, palette, alpha, value_range
        self.paths = [path]
        self.step = max(1, -(-max(form.size) // _OVERLAY)) if form.is_long else 1
        self._picture: NDArray[np.uint8] | None = None
        self._size = -(-form.size[0] // self.step), -(-form.size[1] // self.step)
        self._row = 0

    def write(self, image: Pixels, labels: NDArray[np.uint8]) -> None:
        """Add pixels ``(rows, W, C)`` and their labels ``(rows, W)`` or ``(K, rows, W)``."""
        if self._picture is None:
            self._picture = np.empty((*self._size, 3), np.uint8)
        first, across = -self._row % self.step, slice(None, None, self.step)
        for top in range(first, len(image), _ROWS * self.step):  # the whole of a large image would be held twice
            down = slice(top, min(len(image), top + _ROWS * self.step), self.step)
            rgb = as_rgb(image[down, across], self.value_range)
            place = (self._row + top) // self.step
            self._picture[place : place + len(rgb)] = overlay(
                rgb, labels[..., down, across], self.palette, alpha=self.alpha
            )
        self._row += len(image)

    def close(self) -> None:
        """Write the file."""
        assert self._picture is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(self.path, self._picture, quality=90)

    def discard(self) -> None:
        """Forget what was written."""
        self._picture = None


def write_labels(
    labels: NDArray[np.uint8],
    class_names: Sequence[str],
    folder: Path,
    name: str,
    *,
    values: Sequence[int | Sequence[int]] = (),
) -> None:
    """Write label values ``(H, W)`` as an 8-bit gray PNG of that name.

    ``values`` are written in place of labels: gray of 8 or 16 bits, or colours, as RGB.

    Multilabel masks ``(C, H, W)`` become a PNG of 0 and 1 for each class, in a folder of its name, as
    ``data.mode=multilabel`` reads them.
    """
    form = Form((labels.shape[-2], labels.shape[-1]))
    names = class_names if labels.ndim == 3 else ()
    writer = MaskWriter(folder, name, form, values="original", class_names=names, mask_values=values)
    writer.write(labels)
    writer.close()


def write_overlay(
    image: Pixels,
    labels: NDArray[np.uint8],
    palette: Sequence[Colour],
    path: Path,
    *,
    alpha: float,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Write an image with its labels blended over it; ``value_range`` are the pixel values of black and white."""
    writer = OverlayWriter(path, Form((image.shape[0], image.shape[1])), palette, alpha=alpha, value_range=value_range)
    writer.write(image, labels)
    writer.close()
