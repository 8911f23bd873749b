"""What only a full decode of a file tells: statistics of each band, hashes of the picture, soft edges of a mask."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.doctor.hashes import gradient_hash, perceptual_hash
from segtrain.data.files.images import MAX_PIXELS, decode_image, decode_mask
from segtrain.data.files.inspection import Inspector
from segtrain.data.files.photos import JPEG, PNG, RIFF
from segtrain.data.sample import Pixels

_HASHED_AT = 64  # pixels a side of the gray picture that hashes are made from
_SIGNS = {JPEG: "JPEG", PNG: "PNG", RIFF: "WebP", b"BM": "BMP", b"GI": "GIF", b"II": "TIFF", b"MM": "TIFF"}
"""The format of a file by its first two bytes."""


class Band(NamedTuple):
    """Mean, standard deviation, least and greatest value of one band of an image."""

    mean: float
    std: float
    low: float
    high: float


class Content(NamedTuple):
    """What an image holds: its file format, a digest of its bytes, two hashes of how it looks, and its bands.

    ``opaque`` is the share of pixels whose alpha is full; None without alpha, which is no band here.
    """

    format: str
    digest: str
    looks: int
    slopes: int
    opaque: float | None
    bands: tuple[Band, ...]


class Edges(NamedTuple):
    """Steps between neighbours of a mask's row: ``gradual``, through a value in between, and ``jumps``, without."""

    gradual: int
    jumps: int


def look_into_content(path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> Content:
    """Decode an image in full; raises `DataError` as `read_image` does."""
    data = path.read_bytes()
    decoded = decode_image(path, channels=channels, max_pixels=max_pixels)
    pixels = decoded.pixels if decoded.pixels.ndim == 3 else decoded.pixels[..., None]  # (H, W, C)
    opaque = None
    # the channel behind the colours is alpha, unless training takes it as a band
    if decoded.colours is not None and decoded.colours < pixels.shape[2] != channels:
        alpha = pixels[..., decoded.colours]
        full = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1.0
        opaque = float((alpha == full).mean())
        pixels = pixels[..., : decoded.colours]
    return content_of_pixels(pixels, data, opaque=opaque)


def content_of_pixels(pixels: Pixels, data: bytes, *, opaque: float | None = None) -> Content:
    """Measure pixels ``(H, W, C)`` without alpha, and the bytes that they were stored in."""
    gray = _gray(pixels)
    return Content(
        _SIGNS.get(data[:2], "another format"),
        hashlib.blake2b(data, digest_size=16).hexdigest(),
        perceptual_hash(gray),
        gradient_hash(gray),
        opaque,
        tuple(_bands(pixels)),
    )


def _bands(pixels: Pixels) -> list[Band]:
    """Measure each band of ``(H, W, C)``."""
    bands = []
    for band in np.moveaxis(pixels, 2, 0):
        mean, std = cv2.meanStdDev(np.ascontiguousarray(band))  # in double precision, in one pass
        bands.append(Band(float(mean[0, 0]), float(std[0, 0]), float(band.min()), float(band.max())))
    return bands


def _gray(pixels: Pixels) -> NDArray[np.float32]:
    """Shrink ``(H, W, C)`` to a gray picture of `_HASHED_AT` pixels a side: the mean of all bands."""
    size = (_HASHED_AT, _HASHED_AT)
    # by area, so that every pixel counts; of each band, as OpenCV resizes no more than four at a time
    bands = [
        cv2.resize(np.ascontiguousarray(band).astype(np.float32, copy=False), size, interpolation=cv2.INTER_AREA)
        for band in np.moveaxis(pixels, 2, 0)
    ]
    gray: NDArray[np.float32] = np.mean(bands, axis=0, dtype=np.float32)
    return gray


def look_into_edges(path: Path, *, max_pixels: int = MAX_PIXELS) -> Edges:
    """Count the steps in the rows of a mask; raises `DataError` as `read_mask` does."""
    return edges_of(decode_mask(path, max_pixels=max_pixels)[0])


def edges_of(mask: Pixels) -> Edges:
    """Count the steps in the rows of a mask ``(H, W)``.

    A gradual one rises or falls over three pixels in a row, as where a mask was resized with
    interpolation; a jump goes by more than one from a pixel to the next.
    """
    steps = np.diff(mask.astype(np.int32), axis=1)  # (H, W - 1)
    gradual = np.sign(steps[:, :-1]) * np.sign(steps[:, 1:]) > 0  # both rise, or both fall
    return Edges(int(gradual.sum()), int((np.abs(steps) > 1).sum()))


def content_of(
    inspector: Inspector, path: Path, *, channels: int | None = None, max_pixels: int = MAX_PIXELS
) -> Content:
    """Return `look_into_content` of a file, cached."""
    look = partial(look_into_content, path, channels=channels, max_pixels=max_pixels)
    content = Content(*inspector.facts(path, "content", lambda: _plain(look())))
    return content._replace(bands=tuple(Band(*band) for band in content.bands))


def edges_in(inspector: Inspector, path: Path, *, max_pixels: int = MAX_PIXELS) -> Edges:
    """Return `look_into_edges` of a file, cached."""
    return Edges(*inspector.facts(path, "edges", lambda: list(look_into_edges(path, max_pixels=max_pixels))))


def _plain(content: Content) -> list[Any]:
    return [*content[:-1], [list(band) for band in content.bands]]
