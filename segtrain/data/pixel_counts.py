"""Pixel counts of each label, for class weights; counted once and cached in the user's cache folder."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Listing
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.stamps import digest_of
from segtrain.data.sample import Source
from segtrain.losses.class_weights import PixelCounts
from segtrain.task import IGNORE_INDEX

log = logging.getLogger(__name__)

_FORMAT = 3  # part of the cache key: raise it when the cached value changes, and old entries are not found


def pixel_counts(source: Source, num_labels: int) -> PixelCounts:
    """Return `count_pixels` from the cache, counting only if no run did since a mask changed.

    See `segtrain.data.files.memory` for where the cache is.
    """
    fingerprint = source.fingerprint()
    if fingerprint is None:  # a source that cannot tell whether its masks changed is counted anew
        return count_pixels(source, num_labels)
    key = hashlib.sha256(f"{_FORMAT} {fingerprint} {num_labels}".encode()).hexdigest()
    known: PixelCounts | None = recall("pixel_counts", key)
    if known is not None:
        return known
    counts = count_pixels(source, num_labels)
    remember("pixel_counts", key, counts)
    return counts


def count_pixels(source: Source, num_labels: int) -> PixelCounts:
    """Count the pixels of each label in all masks, and the valid pixels of the images that hold it.

    A mask ``(H, W)`` holds label values; those from ``num_labels`` on do not count. The channels of
    a mask ``(C, H, W)`` hold 1 where their class is, and have valid pixels of their own.
    """
    log.info("counting the pixels of each class in %d masks", len(source))

    def count(index: int) -> NDArray[np.int64]:
        return _count(source.mask(index), num_labels)

    total = np.zeros((2, num_labels), dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: decoding releases the GIL
        for counts in pool.map(count, range(len(source))):
            total += counts
    pixels, in_images = total.tolist()
    return {"pixels": pixels, "in_images": in_images}


def _count(mask: NDArray[np.uint8], num_labels: int) -> NDArray[np.int64]:
    """Count one mask: per label its pixels, and the valid pixels if it occurs; ``(2, num_labels)``."""
    if mask.ndim == 3:
        pixels = np.count_nonzero(mask == 1, axis=(1, 2))  # (C,)
        valid = np.count_nonzero(mask != IGNORE_INDEX, axis=(1, 2))  # (C,)
    else:
        pixels = np.bincount(mask.ravel(), minlength=num_labels)[:num_labels]  # cuts off 255, ignored
        valid = pixels.sum()
    return np.stack([pixels, valid * (pixels > 0)])


def fingerprint_masks(samples: Listing, labels: LabelMap) -> str | None:
    """Hash what mask labels depend on: file paths, sizes, modification times, drawings, and the label map.

    None where a file cannot be accessed; reading it raises with the reason.
    """
    stamps = digest_of(samples.mask_files(), samples.drawing_stamps())
    return stamps and hashlib.sha256(labels.table.tobytes() + stamps.encode()).hexdigest()
