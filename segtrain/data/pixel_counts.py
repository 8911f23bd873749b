"""How many pixels each label has, counted once and remembered in the user's cache folder."""

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.labels import LabelMap
from segtrain.data.files.memory import recall, remember
from segtrain.data.sample import Source
from segtrain.losses.class_weights import PixelCounts
from segtrain.task import IGNORE_INDEX

log = logging.getLogger(__name__)

_FORMAT = 3
"""Of what is kept: other entries are not found, and so not misread."""


def pixel_counts(source: Source, num_labels: int) -> PixelCounts:
    """Return what `count_pixels` does; it only counts where no earlier run did, or a mask has changed since.

    Counts are kept as `segtrain.data.files.memory` says.
    """
    fingerprint = source.fingerprint()
    if fingerprint is None:
        return count_pixels(source, num_labels)
    key = hashlib.sha256(f"{_FORMAT} {fingerprint} {num_labels}".encode()).hexdigest()
    known: PixelCounts | None = recall("pixel_counts", key)
    if known is not None:
        return known
    counts = count_pixels(source, num_labels)
    remember("pixel_counts", key, counts)
    return counts


def count_pixels(source: Source, num_labels: int) -> PixelCounts:
    """Count the pixels of each label over all masks of a source, and the valid ones of the images that hold it.

    A mask ``(H, W)`` holds label values, of which those beyond ``num_labels`` do not count; the channels of one ``(C,
    H, W)`` hold 1 where their class is, and have valid pixels of their own.
    """
    log.info("counting the pixels of each class in %d masks", len(source))

    def count(index: int) -> NDArray[np.int64]:
        return _count(source.mask(index), num_labels)

    total = np.zeros((2, num_labels), dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter's lock
        for counts in pool.map(count, range(len(source))):
            total += counts
    pixels, in_images = total.tolist()
    return {"pixels": pixels, "in_images": in_images}


def _count(mask: NDArray[np.uint8], num_labels: int) -> NDArray[np.int64]:
    """Count the pixels of each label in one mask, and the valid ones if it is there: ``(2, num_labels)``."""
    if mask.ndim == 3:
        pixels = np.count_nonzero(mask == 1, axis=(1, 2))
        valid = np.count_nonzero(mask != IGNORE_INDEX, axis=(1, 2))
    else:
        pixels = np.bincount(mask.ravel(), minlength=num_labels)[:num_labels]
        valid = pixels.sum()
    return np.stack([pixels, valid * (pixels > 0)])


def fingerprint_masks(files: Iterable[Path], labels: LabelMap) -> str | None:
    """Hash what the labels in mask files follow from: paths, sizes, times of change, and the translation of values.

    None where a file cannot be looked at; reading it says why.
    """
    digest = hashlib.sha256(labels.table.tobytes())
    try:
        for file in files:
            status = file.stat()
            digest.update(os.fsencode(file.absolute()) + f"\0{status.st_size} {status.st_mtime_ns}\0".encode())
    except OSError:
        return None
    return digest.hexdigest()
