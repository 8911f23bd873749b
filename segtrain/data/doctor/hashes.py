"""Hashes of how a picture looks, 64 bits each, and the search for pairs that differ in few bits."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 64
_SIDE = 8  # of the square of coefficients, or of differences, that gives the bits
_ROWS = 1024  # of a table of distances at a time, which bounds its memory
_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
"""The number of set bits in a byte."""


def perceptual_hash(gray: NDArray[np.float32]) -> int:
    """Hash a gray picture, square of even side, by its low frequencies: 64 bits.

    The 8x8 coefficients of lowest frequency of a discrete cosine transform, without the mean; a bit is
    set where a coefficient is above their median (Zauner, "Implementation and Benchmarking of
    Perceptual Image Hash Functions", 2010, section 3.2.1). Scale, compression and a change of
    brightness leave nearly all bits as they are.
    """
    low = cv2.dct(gray)[1 : _SIDE + 1, 1 : _SIDE + 1]
    return _packed(low > np.median(low))


def gradient_hash(gray: NDArray[np.float32]) -> int:
    """Hash a gray picture by the sign of horizontal differences over an 8x9 grid: 64 bits."""
    grid = cv2.resize(gray, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return _packed(grid[:, 1:] > grid[:, :-1])


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance(one: int, other: int) -> int:
    """Count the bits in which two hashes differ."""
    return bin(one ^ other).count("1")


def near_hashes(hashes: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Find the pairs of distinct hashes that differ in at most ``most`` bits, the lower first, sorted.

    Of ``most + 1`` bands of bits, two such hashes have one in common, so only hashes that share a band
    are compared.
    """
    unique = np.unique(np.fromiter(hashes, np.uint64))
    found: set[tuple[int, int]] = set()
    for low, high in pairwise(BITS * number // (most + 1) for number in range(most + 2)):
        band = (unique >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            found.update(_near_within(unique[group], most))
    return sorted(found)


def _near_within(hashes: NDArray[np.uint64], most: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of near hashes among ascending ones."""
    if len(hashes) < 2:
        return
    for first in range(0, len(hashes), _ROWS):
        rows = hashes[first : first + _ROWS]
        differing = rows[:, None] ^ hashes[None, :]  # (rows, N)
        bits = _BYTE[differing.view(np.uint8)].reshape(*differing.shape, 8).sum(-1)
        for row, column in np.argwhere((bits <= most) & (rows[:, None] < hashes[None, :])).tolist():
            yield int(rows[row]), int(hashes[column])
