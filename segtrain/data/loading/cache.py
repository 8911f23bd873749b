"""A cache of decoded and resized samples, in memory or in a file, that all workers share."""

import mmap
import zlib

import numpy as np
from numpy.typing import NDArray

from segtrain.data.sample import Pixels, RawSample

MIB = 2**20
_MARK = np.dtype(np.uint64)  # of each sample: 0 before it is there, then 2**32 + CRC-32
_THERE = 1 << 32


class Cache:
    """A cache of the samples of the first ``capacity`` indices, filled by whichever process decodes one.

    It is an anonymous shared memory map: forked workers share one copy, pages cost nothing before
    they are written, and a small /dev/shm does not limit it. Under another start method each worker
    begins with an empty one. ``example`` sets the shapes and dtype that it can hold.
    """

    def __init__(self, example: RawSample, length: int, budget_mb: int) -> None:
        self._shapes = (example.image.shape, example.mask.shape)
        self._dtype = example.image.dtype
        size = example.image.nbytes + example.mask.nbytes
        self.capacity = min(length, budget_mb * MIB // size)
        self.nbytes = max(1, self.capacity * (size + _MARK.itemsize))  # a map of no bytes is an error
        self._open()

    def _open(self) -> None:
        self._divide(self._map())

    def _map(self) -> mmap.mmap:
        """Map memory of zeros, so that no sample is there."""
        return mmap.mmap(-1, self.nbytes)

    def _divide(self, memory: mmap.mmap) -> None:
        """Lay out the memory: marks, images and masks."""
        count, (image, mask) = self.capacity, self._shapes
        after_marks = count * _MARK.itemsize
        after_images = after_marks + count * int(np.prod(image)) * self._dtype.itemsize
        self._marks = _view(memory, (count,), _MARK, 0)
        self._images = _view(memory, (count, *image), self._dtype, after_marks)  # (capacity, H, W, C)
        self._masks = _view(memory, (count, *mask), np.dtype(np.uint8), after_images)  # (capacity, [C,] H, W)

    def get(self, index: int) -> tuple[Pixels, NDArray[np.uint8]] | None:
        """Return copies of an image and its mask, or None if they are not cached (yet)."""
        if index >= self.capacity or not self._marks[index] or not self._is_sound(index):
            return None
        # copies: augmentation may work in place, and would change the sample for all epochs
        return self._images[index].copy(), self._masks[index].copy()

    def put(self, index: int, raw: RawSample) -> None:
        """Keep a sample if there is room for it and it has the shapes and dtype of the example."""
        fits = (raw.image.shape, raw.mask.shape) == self._shapes and raw.image.dtype == self._dtype
        if index < self.capacity and fits:
            self._images[index] = raw.image
            self._masks[index] = raw.mask
            self._marks[index] = self._mark(index)  # last: another process may look at any time

    def _mark(self, _index: int) -> int:
        return _THERE

    def _is_sound(self, _index: int) -> bool:
        return True

    def _checksum(self, index: int) -> int:
        """Return the mark of a sample from its bytes."""
        return _THERE | zlib.crc32(self._masks[index], zlib.crc32(self._images[index]))

    def __getstate__(self) -> dict[str, object]:
        # a memory map cannot be pickled: a spawned worker opens its own
        views = ("_marks", "_images", "_masks")
        return {key: value for key, value in self.__dict__.items() if key not in views}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()


def _view(memory: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype[np.generic], offset: int) -> NDArray[np.generic]:
    return np.frombuffer(memory, dtype, count=int(np.prod(shape)), offset=offset).reshape(shape)
