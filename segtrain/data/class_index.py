"""An index of which classes each mask holds and where; made once and cached in the user's cache folder."""

import base64
import hashlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.memory import recall, remember
from segtrain.data.sample import Source
from segtrain.task import IGNORE_INDEX

log = logging.getLogger(__name__)

PLACES = 8  # of a class in an image, spread over its pixels
_STEPS = 2**16  # a place is kept in so many parts of a side, so that it holds for an image of any size
_FORMAT = 1  # part of the cache key: raise it when the cached value changes, and old entries are not found


class Found(NamedTuple):
    """A place of a label in an image: the image's index, and row and column as parts of its sides, 0 to 1."""

    image: int
    row: float
    column: float


class ClassIndex:
    """Which labels the masks of a source hold: one row for each label of each image, sorted by image.

    A row takes 41 bytes, whatever the size of its image. Of multilabel masks, label 0 is a pixel without
    any class, and class c is label c + 1. ``rare`` are labels with fewer pixels than the mean label.
    """

    def __init__(self, sizes: NDArray[np.int32], rows: "Rows") -> None:
        self.sizes, self.rows = sizes, rows  # (N, 2): height and width of each mask
        self._first = np.searchsorted(rows.image, np.arange(len(sizes) + 1))  # (N + 1,): where an image begins
        pixels = np.bincount(rows.label, rows.pixels, minlength=IGNORE_INDEX + 1)[: IGNORE_INDEX + 1]
        present = np.flatnonzero(pixels)
        shares = pixels / max(1, pixels.sum())  # (256,)
        self.rare = present[shares[present] < 1 / max(1, len(present))]
        # rarer labels are drawn more often, though not as much more as they are rarer: 1 / sqrt(share)
        self._weight = np.zeros(IGNORE_INDEX + 1)  # (256,)
        self._weight[self.rare] = shares[self.rare] ** -0.5
        self._by_label = np.argsort(rows.label, kind="stable")
        self._first_of = np.searchsorted(rows.label[self._by_label], np.arange(IGNORE_INDEX + 2))

    def subset(self, indices: Sequence[int]) -> "ClassIndex":
        """Return the index of a selection of the images, numbered anew in its order."""
        spans = [np.arange(self._first[index], self._first[index + 1]) for index in indices]
        kept = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        numbers = np.repeat(np.arange(len(spans), dtype=np.int32), [len(span) for span in spans])
        chosen = Rows(numbers, *(column[kept] for column in self.rows[1:]))
        return ClassIndex(self.sizes[list(indices)], chosen)

    def rare_place_in(self, image: int, rng: np.random.Generator) -> Found | None:
        """Draw a rare label of an image, the rarer the likelier, and one of its places; None if it has none."""
        rows = slice(self._first[image], self._first[image + 1])
        weights = self._weight[self.rows.label[rows]]
        if not weights.any():
            return None
        return self._place(rows.start + int(rng.choice(len(weights), p=weights / weights.sum())), rng)

    def rare_place(self, rng: np.random.Generator) -> tuple[int, Found] | None:
        """Draw a rare label, then an image that has it, and a place there; None without any rare label."""
        if not len(self.rare):
            return None
        weights = self._weight[self.rare]
        label = int(rng.choice(self.rare, p=weights / weights.sum()))
        row = self._by_label[rng.integers(self._first_of[label], self._first_of[label + 1])]
        return label, self._place(int(row), rng)

    def _place(self, row: int, rng: np.random.Generator) -> Found:
        down, across = self.rows.places[row, rng.integers(PLACES)] / _STEPS
        return Found(int(self.rows.image[row]), float(down), float(across))

    def balanced_weights(self) -> NDArray[np.float64]:
        """Return the probability ``(N,)`` of each image if a label is drawn first, then an image that has it."""
        images_with = np.bincount(self.rows.label, minlength=IGNORE_INDEX + 1)  # (256,)
        weights = np.bincount(self.rows.image, 1 / images_with[self.rows.label], minlength=len(self.sizes))
        return weights.astype(np.float64) / max(1, len(np.unique(self.rows.label)))


class Rows(NamedTuple):
    """The columns of a `ClassIndex`, of P rows."""

    image: NDArray[np.int32]  # (P,)
    label: NDArray[np.uint8]  # (P,)
    pixels: NDArray[np.int32]  # (P,)
    places: NDArray[np.uint16]  # (P, PLACES, 2): row and column, in parts of the sides


_DTYPES = (np.int32, np.uint8, np.int32, np.uint16)  # of the columns of `Rows`


def class_index(source: Source) -> ClassIndex:
    """Return the class index of a source, from the cache unless a mask has changed; else all masks are read."""
    fingerprint = source.fingerprint()
    if fingerprint is None:  # a source that cannot tell whether its masks changed is read anew
        return read_index(source)
    key = hashlib.sha256(f"{_FORMAT} {fingerprint} {PLACES}".encode()).hexdigest()
    known = recall("class_index", key)
    if known is not None:
        return _unpacked(known)
    index = read_index(source)
    remember("class_index", key, _packed(index))
    return index


def read_index(source: Source) -> ClassIndex:
    """Read all masks of a source and note which labels they hold, and where."""
    log.info("looking for the places of each class in %d masks", len(source))
    sizes = np.zeros((len(source), 2), np.int32)
    columns = [bytearray() for _ in Rows._fields]  # as bytes: a million images would be as many small arrays
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: decoding releases the GIL
        found = pool.map(lambda number: _look(source.mask(number), number), range(len(source)))
        for number, (size, rows) in enumerate(found):
            sizes[number] = size
            arrays: tuple[NDArray[Any], ...] = rows
            for column, values in zip(columns, arrays, strict=True):
                column += values.tobytes()
    image, label, pixels, places = map(np.frombuffer, columns, _DTYPES)
    return ClassIndex(sizes, Rows(image, label, pixels, places.reshape(-1, PLACES, 2)))


def _look(mask: NDArray[np.uint8], number: int) -> tuple[tuple[int, int], Rows]:
    """Return the size of a mask and the rows of its labels, as those of an image of that number."""
    height, width = mask.shape[-2:]
    labels, pixels, places = [], [], []
    for label, found in _pixels_by_label(mask):
        chosen = found[(2 * np.arange(PLACES) + 1) * len(found) // (2 * PLACES)]  # evenly spread in reading order
        # a pixel's centre lies in its own part of a side, so that no rounding moves it to a neighbour
        centres = np.stack(np.divmod(chosen, width), axis=1) + 0.5  # (PLACES, 2)
        labels.append(label)
        pixels.append(len(found))
        places.append(centres / (height, width) * _STEPS)
    columns = [number] * len(labels), labels, pixels, places
    return (height, width), Rows(*(np.array(column, dtype) for column, dtype in zip(columns, _DTYPES, strict=True)))


def _pixels_by_label(mask: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each label of a mask with the flat indices of its pixels."""
    if mask.ndim == 3:
        planes = [(mask == 0).all(0), *(plane == 1 for plane in mask)]
        for label, plane in enumerate(planes):
            if plane.any():
                yield label, np.flatnonzero(plane)
        return
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)
    for label in np.flatnonzero(counts[:IGNORE_INDEX]).tolist():
        yield label, np.flatnonzero(mask.ravel() == label)


def _packed(index: ClassIndex) -> str:
    """Pack an index as a text, as the cache keeps JSON."""
    file = io.BytesIO()
    np.savez_compressed(file, sizes=index.sizes, **index.rows._asdict())
    return base64.b64encode(file.getvalue()).decode()


def _unpacked(text: str) -> ClassIndex:
    with np.load(io.BytesIO(base64.b64decode(text))) as arrays:
        return ClassIndex(arrays["sizes"], Rows(*(arrays[name] for name in Rows._fields)))
