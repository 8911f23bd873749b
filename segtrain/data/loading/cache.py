"""A cache of decoded and resized samples, in memory that all workers share."""

import mmap

import numpy as np
from numpy.typing import NDArray

from segtrain.data.sample import Pixels, RawSample

MIB = 2**20


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
        self._allocate()

    def _allocate(self) -> None:
        """Map memory of zeros, so that no sample is ready."""
        self._ready = _shared((self.capacity,), np.dtype(bool))
        self._images = _shared((self.capacity, *self._shapes[0]), self._dtype)  # (capacity, H, W, C)
        self._masks = _shared((self.capacity, *self._shapes[1]), np.dtype(np.uint8))  # (capacity, [C,] H, W)

    def get(self, index: int) -> tuple[Pixels, NDArray[np.uint8]] | None:
        """Return copies of an image and its mask, or None if they are not cached (yet)."""
        if index >= self.capacity or not self._ready[index]:
            return None
        # copies: augmentation may work in place, and would change the sample for all epochs
        return self._images[index].copy(), self._masks[index].copy()

    def put(self, index: int, raw: RawSample) -> None:
        """Keep a sample if there is room for it and it has the shapes and dtype of the example."""
        fits = (raw.image.shape, raw.mask.shape) == self._shapes and raw.image.dtype == self._dtype
        if index < self.capacity and fits:
            self._images[index] = raw.image
            self._masks[index] = raw.mask
            self._ready[index] = True  # last: another process may look at any time

    def __getstate__(self) -> dict[str, object]:
        # a memory map cannot be pickled: a spawned worker allocates its own, empty
        return {"_shapes": self._shapes, "_dtype": self._dtype, "capacity": self.capacity}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._allocate()


def _shared(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    size = int(np.prod(shape)) * dtype.itemsize
    memory = mmap.mmap(-1, max(1, size))  # a map of no bytes is an error
    return np.frombuffer(memory, dtype, count=int(np.prod(shape))).reshape(shape)
