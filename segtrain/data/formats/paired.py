"""Base class of dataset formats with an image file and a mask file, or several, per sample."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrain.data.doctor.looking import wrong_size
from segtrain.data.files.images import MAX_PIXELS, image_size, read_image, read_mask
from segtrain.data.files.labels import UNKNOWN, LabelMap, listing
from segtrain.data.files.pairs import Pair
from segtrain.data.files.verify import verify_pairs
from segtrain.data.palette import colours_of
from segtrain.data.pixel_counts import fingerprint_masks
from segtrain.data.sample import RawSample, Source, Split
from segtrain.errors import DataError
from segtrain.task import Task

log = logging.getLogger(__name__)


class PairedSource(Source):
    """A dataset of pairs of an image file and its mask files; a format finds the pairs.

    ``pairs`` are those of the split, by id. A mask is one file; for a multilabel task, one file or
    None per class. ``labels`` translates the values in the files. ``absent`` is the value of every
    pixel of a class without a file. ``channels`` and ``max_pixels`` are those of `read_image`,
    ``value_range`` is that of `Source`. ``unchecked`` are the ids that `verify` leaves out. A split
    without pairs, and missing files, are for the format to report.
    """

    def __init__(
        self,
        pairs: Mapping[str, Pair],
        task: Task,
        labels: LabelMap,
        *,
        split: Split,
        absent: int = 0,
        channels: int = 3,
        value_range: tuple[float, float] | None = None,
        max_pixels: int = MAX_PIXELS,
        unchecked: Collection[str] = (),
    ) -> None:
        self.mode, self.class_names, self.palette = task.mode, task.class_names, colours_of(task)
        self.channels, self.value_range = channels, value_range
        self.ids = tuple(pairs)
        self._pairs, self._labels, self._split = pairs, labels, split
        self._by_class, self._absent = task.classes_overlap, absent
        self._max_pixels, self._unchecked = max_pixels, frozenset(unchecked)

    def __getitem__(self, index: int) -> RawSample:
        pair = self._pairs[self.ids[index]]
        masks = self._read(pair)
        # the mask decides whether the EXIF orientation of the photo applies, so it is read first
        shape = next((mask.shape for mask in masks if mask is not None), None)
        image = read_image(pair.image, channels=self.channels, mask_shape=shape, max_pixels=self._max_pixels)
        return RawSample(image, self._target(pair, masks, image.shape[:2]), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read the mask of that sample without its image: ``(H, W)``, or ``(C, H, W)`` if multilabel."""
        pair = self._pairs[self.ids[index]]
        masks = self._read(pair)
        if not self._by_class:
            return self._target(pair, masks, None)
        # a class without a file needs the image's size, which takes its header alone
        shape = next((mask.shape for mask in masks if mask is not None), None)
        size = image_size(pair.image, channels=self.channels, mask_shape=shape, max_pixels=self._max_pixels)
        return self._target(pair, masks, size)

    def fingerprint(self) -> str | None:
        """Hash the mask files of the split, the value of missing ones, and the label map."""
        files = (file for pair in self._pairs.values() for file in pair.masks if file is not None)
        fingerprint = fingerprint_masks(files, self._labels)
        return fingerprint and f"{fingerprint} {self._absent} {len(self)}"

    def verify(self) -> None:
        """Check every file; raise one `DataError` with all problems, warn of classes that no mask holds."""
        pairs = [pair for name, pair in self._pairs.items() if name not in self._unchecked]
        if not pairs:
            return
        held = verify_pairs(
            pairs,
            self._labels,
            self.class_names,
            channels=self.channels,
            value_range=self.value_range,
            max_pixels=self._max_pixels,
        )
        absent = self._labels.absent(held[0])
        if self._by_class:  # one set of values for the masks of each class
            absent = [name for name, values in zip(self.class_names, held, strict=True) if self._labels.absent(values)]
        if absent:
            log.warning("no mask for %s holds %s", self._split, listing(absent))

    def _read(self, pair: Pair) -> list[NDArray[np.uint8] | None]:
        """Read the masks of a pair as labels ``(H, W)``; None for one without a file."""
        return [None if file is None else self._labels_in(file) for file in pair.masks]

    def _labels_in(self, file: Path) -> NDArray[np.uint8]:
        """Read a mask as labels ``(H, W)``; raises `DataError` for values without a label."""
        mask = read_mask(file, by_colour=self._labels.by_colour, max_pixels=self._max_pixels)
        labels = self._labels(mask)
        if (labels == UNKNOWN).any():
            values = map(self._labels.text, self._labels.unknown(np.unique(mask).tolist()))
            raise DataError(f"{file}: mask holds {listing(values)}, expected {self._labels.expected}")
        return labels

    def _target(
        self, pair: Pair, masks: Sequence[NDArray[np.uint8] | None], size: tuple[int, ...] | None
    ) -> NDArray[np.uint8]:
        """Stack masks to the task's target, ``(H, W)`` or ``(C, H, W)``; raises unless they have ``size``.

        ``size`` is the ``(H, W)`` of the image; None: not known, and not checked.
        """
        for file, mask in zip(pair.masks, masks, strict=True):
            if file is not None and mask is not None and size is not None and mask.shape != size:
                raise DataError(str(wrong_size(file, mask.shape, pair.image, size)))
        if not self._by_class:
            assert masks[0] is not None
            return masks[0]
        assert size is not None
        return np.stack([np.full(size, self._absent, np.uint8) if mask is None else mask for mask in masks])
