"""Label Studio's run lengths of brush strokes, in a format of its own.

It packs a picture of RGBA bytes, ``(H, W, 4)`` in a row, into bits, the highest of a byte first. 32 bits say how many
values there are, 5 how many bits a value has, less one, and 4 times 4 how many bits a length has, less one. Then
blocks follow: a bit that says whether one value is repeated, two that choose among the four sizes of a
length, the length less one, and the repeated value or as many values (the rle-pack of thi.ng/umbrella).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 4  # of RGBA; alpha, the last, says what is painted


def unpack_brush(packed: bytes, size: Sequence[int]) -> NDArray[np.bool_]:
    """Return the pixels ``(H, W)`` that a brush has painted; raises ValueError where they are not so many."""
    height, width = size
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    reader = _Reader(packed)
    count = reader.take(32)
    if count != height * width * _CHANNELS:
        raise ValueError(f"run lengths of {count / _CHANNELS:g} pixels, expected {height * width}")
    value_bits = reader.take(5) + 1
    length_bits = [reader.take(4) + 1 for _ in range(4)]
    powers = 1 << np.arange(value_bits)[::-1]
    values = np.zeros(count, bool)
    place = 0
    while place < count:
        is_repeated = reader.take(1)
        end = place + reader.take(length_bits[reader.take(2)]) + 1
        if end > count:
            raise ValueError(f"run lengths of more than {height * width} pixels")
        if is_repeated:
            values[place:end] = reader.take(value_bits) > 0
        else:
            start = reader.skip((end - place) * value_bits)
            each = bits[start : start + (end - place) * value_bits].reshape(-1, value_bits)
            values[place:end] = each @ powers > 0
        place = end
    return values.reshape(height, width, _CHANNELS)[..., -1]


class _Reader:
    """Reads numbers of any bits from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> int:
        """Read a number of that many bits."""
        start = self.skip(count)
        first, last = start // 8, (start + count + 7) // 8
        number = int.from_bytes(self._data[first:last], "big")
        return number >> (last * 8 - start - count) & ((1 << count) - 1)

    def skip(self, count: int) -> int:
        """Step over that many bits; returns where they begin."""
        start = self._place
        self._place += count
        if self._place > len(self._data) * 8:
            raise ValueError("run lengths that end too early")
        return start
