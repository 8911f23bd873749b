"""Converting images given in Python (arrays, tensors, Pillow images, paths) to pixels as a file holds them."""

from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from segtrain.data.files.images import ANY_SIZE, ChannelsError, read_image, with_channels
from segtrain.data.files.inspection import refuse_damaged
from segtrain.data.files.photos import AS_THEY_STAND
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

Given: TypeAlias = NDArray[Any] | Tensor | Image.Image | str | PathLike[str]
"""One image: an array, a tensor, a Pillow image, or the path of a file."""

_DTYPES = (np.uint8, np.uint16, np.float32)


def pixels_of(image: Given, *, channels: int, max_pixels: int = ANY_SIZE) -> Pixels:
    """Return one image as ``(H, W, channels)`` of uint8, uint16 or float32, as `read_image` does for a file.

    An array or tensor is ``(H, W, channels)``, RGB for 3, or gray ``(H, W)``. A Pillow image is turned
    upright and converted as its file would be; a path is checked for damage and read. Raises
    `DataError` for another shape, dtype or number of channels, for NaN, and for an unreadable file.
    """
    try:
        if isinstance(image, str | PathLike):
            refuse_damaged(Path(image))
            return read_image(Path(image), channels=channels, max_pixels=max_pixels)
        if isinstance(image, Image.Image):
            upright = ImageOps.exif_transpose(image)
            found = np.asarray(upright if upright.mode in AS_THEY_STAND else upright.convert("RGB"))
            found = found.astype(np.uint8) * np.uint8(255) if found.dtype == bool else found
            return _with_axis(found, channels, colours=1 if found.ndim == 2 or found.shape[2] == 2 else 3)
    except ChannelsError as error:
        raise error.of_checkpoint() from None
    found = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if found.ndim not in (2, 3) or found.dtype not in _DTYPES or (found.ndim == 3 and found.shape[2] != channels):
        raise DataError(
            f"image: an array {found.shape} of {found.dtype}, expected (H, W, {channels}) of uint8, uint16 or "
            f"float32, as files hold them{_remedy(found, channels)}"
        )
    if not np.isfinite(found).all():
        raise DataError("image: holds NaN or infinite values, expected finite ones; fill them in")
    return _with_axis(found, channels, colours=1 if found.ndim == 2 else None)


def _with_axis(pixels: Pixels, channels: int, *, colours: int | None) -> Pixels:
    return with_channels(pixels if pixels.ndim == 3 else pixels[..., None], colours, channels, Path("image"))


def _remedy(found: NDArray[Any], channels: int) -> str:
    """Return the end of an error line: what to call for an array of another layout or dtype."""
    if found.ndim == 4 and len(found) == 1:
        return "; it is a batch of one: give image[0]"
    if found.ndim == 4:
        return "; it is a batch: give its images one by one"
    if found.ndim == 3 and found.shape[2] != channels and found.shape[0] == channels:
        return "; its channels come first: give image.transpose(1, 2, 0), of a tensor image.permute(1, 2, 0)"
    if found.dtype == np.float64:
        return "; give image.astype('float32'), with 0 as black and 1 as white"
    return ""
