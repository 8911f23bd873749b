"""Reading what only GDAL decodes, with rasterio, of the extra ``geo``."""

import warnings
from typing import Any

import numpy as np

from segtrain.data.files.stored import Request, Stored, bands_first

BEGINNINGS = (b"<VRTDataset", b"EHFA_HEADER_TAG")  # a virtual mosaic, and ERDAS Imagine
SUFFIXES = (".vrt", ".img")
INSTALL = "pip install 'segtrain[geo]'"


def read_geo(request: Request) -> Stored:
    """Decode the bands of a raster, each as it is stored, with their nodata values and a palette if it has one.

    It is opened by its path, as other files may belong to it. Raises `ValueError` where it cannot be
    used, and `ImportError` where rasterio is missing.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # photos have no place on a map
    try:
        with rasterio.open(request.path) as file:
            request.admit((file.height, file.width))
            pixels = bands_first(file.read())
            palette = _palette(file) if file.count == 1 else None
            nodata = tuple(None if value is None else float(value) for value in file.nodatavals)
            stored = Stored(pixels, _colours(file), palette=palette, nodata=nodata)
    except (RasterioError, OSError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0].rstrip(".").replace(f"{request.path}: ", "")
        raise ValueError(f"cannot be decoded: {reason}") from None
    if palette is None or request.for_mask:
        return stored
    return Stored(palette[pixels], 3)


def _colours(file: Any) -> int | None:
    """Return how many bands are gray (1) or RGB (3), without alpha; None: all are bands."""
    names = [each.name for each in file.colorinterp]
    if names[:3] == ["red", "green", "blue"] and names[3:] in ([], ["alpha"]):
        return 3
    return 1 if len(names) == 1 or names == ["gray", "alpha"] else None


def _palette(file: Any) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """Return the palette ``(values, 3)``; None without one."""
    try:
        colours: dict[int, tuple[int, ...]] = file.colormap(1)
    except ValueError:  # rasterio has no other way to say so
        return None
    table = np.zeros((2**8 if file.dtypes[0] == "uint8" else 2**16, 3), np.uint8)  # GDAL gives palettes in full
    for value, colour in colours.items():
        table[value] = colour[:3]
    return table
