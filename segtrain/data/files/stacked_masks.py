"""Masks of overlapping classes in one file: a bit of each value, or a channel, for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.images import MAX_PIXELS, as_labels, decode_stored, read_mask
from segtrain.data.files.labels import listing
from segtrain.data.files.orientation import turn
from segtrain.data.files.stored import Stored
from segtrain.data.sample import Pixels
from segtrain.errors import ConfigError, DataError

Encoding: TypeAlias = Literal["values", "bits", "channels"]
"""What a mask file holds: a label in each pixel, or all overlapping classes, as `Stacking` says."""
BITS = 16  # of the values in a mask
WHITE = 255


class Stacking(NamedTuple):
    """How one file holds the masks of all classes.

    ``bits``: bit k of a value is class k. ``channels``: channel or page k is class k, 0 where it is
    not, and either 1 or 255 where it is.
    """

    encoding: Literal["bits", "channels"]
    class_names: tuple[str, ...]


def stacking_of(encoding: Encoding, class_names: Sequence[str]) -> Stacking | None:
    """Return how files hold all classes, None where they hold labels; raises `ConfigError` for too many bits."""
    if encoding == "values":
        return None
    if encoding == "bits" and len(class_names) > BITS:
        raise ConfigError(
            f"data.encoding: bits, but data.classes has {len(class_names)} names, expected at most {BITS}; "
            "save a channel for each, with data.encoding=channels"
        )
    return Stacking(encoding, tuple(class_names))


def read_layers(path: Path, stacking: Stacking, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read the masks of all classes, ``(C, H, W)`` of 0 and 1.

    Raises `DataError` where the file cannot be read, has bits or channels that are no class, or values
    other than 0 and 1, or 0 and 255, in a channel.
    """
    if stacking.encoding == "bits":
        return _from_bits(read_mask(path, max_pixels=max_pixels), stacking.class_names, path)
    stored = decode_stored(path, channels=len(stacking.class_names), max_pixels=max_pixels)
    channels = as_labels(turn(_with_channels(stored, stacking.class_names, path), stored.orientation), path)
    return _from_channels(channels, path)


def _from_bits(values: Pixels, names: Sequence[str], path: Path) -> NDArray[np.uint8]:
    """Split values ``(H, W)`` to the bit of each class, ``(C, H, W)``."""
    beyond = int(np.bitwise_or.reduce(values, axis=None)) >> len(names)
    if beyond:
        bits = [len(names) + bit for bit in range(BITS) if beyond >> bit & 1]
        raise DataError(
            f"{path}: the mask holds bit {listing(bits)}, expected bits 0..{len(names) - 1} ({listing(names)}); name "
            "theirs in data.classes, or set data.encoding=values if its values are labels",
            kind="mask values",
        )
    return np.stack([(values >> bit & 1).astype(np.uint8) for bit in range(len(names))])


def _with_channels(stored: Stored, names: Sequence[str], path: Path) -> Pixels:
    """Return ``(H, W, C)`` with a channel for each class; drops alpha that is the same everywhere."""
    pixels = stored.pixels if stored.pixels.ndim == 3 else stored.pixels[..., None]
    alpha = pixels[..., -1]
    if stored.colours is not None and pixels.shape[2] == len(names) + 1 and (alpha == alpha[0, 0]).all():
        return pixels[..., :-1]
    if pixels.shape[2] != len(names):
        raise DataError(
            f"{path}: the mask has {pixels.shape[2]} channels, expected {len(names)}, one for each class "
            f"({listing(names)}); correct data.classes, or set data.encoding=bits if they are bits of one channel",
            kind="mask values",
        )
    return pixels


def _from_channels(pixels: Pixels, path: Path) -> NDArray[np.uint8]:
    """Turn channels ``(H, W, C)`` of 0 and 1, or 0 and 255, to ``(C, H, W)`` of 0 and 1."""
    held = np.flatnonzero(np.bincount(pixels.ravel())).tolist()
    if not (set(held) <= {0, 1} or set(held) <= {0, WHITE}):
        raise DataError(
            f"{path}: the channels hold {listing(held)}, expected 0 and 1, or 0 and {WHITE}; save them so, without "
            "compression that changes values",
            kind="mask values",
        )
    return np.ascontiguousarray((pixels > 0).transpose(2, 0, 1)).astype(np.uint8)
