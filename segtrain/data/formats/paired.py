"""Base class of dataset formats with an image file per sample, and a mask that is a file or drawn."""

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.data.doctor.looking import wrong_size
from segtrain.data.doctor.subject import Subject
from segtrain.data.files.division import Division, divide, groups_of
from segtrain.data.files.drawings import Drawing, OnBad
from segtrain.data.files.images import MAX_PIXELS, image_size, read_mask, read_reduced
from segtrain.data.files.inspection import Inspector
from segtrain.data.files.labels import UNKNOWN, LabelMap, listing
from segtrain.data.files.listing import Listing, Pair, size_drawn
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.stacked_masks import Stacking, read_layers
from segtrain.data.files.stamps import digest_of
from segtrain.data.files.verify import verify_pairs
from segtrain.data.palette import colours_of
from segtrain.data.pixel_counts import fingerprint_masks
from segtrain.data.sample import Least, RawSample, Source, Split
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX, Task

log = logging.getLogger(__name__)


class PairedSource(Source):
    """A dataset of image files and their masks; a format finds them, and says what values mean.

    ``samples`` are those of all splits that the format knows of, or those that ``split`` is taken
    from. A mask is a file or a `Drawing`; for a multilabel task, one or None per class. ``labels``
    translates values. How samples are divided is that of `Division`; ``channels`` and ``max_pixels``
    are those of `read_image`, ``value_range`` is that of `Source`. ``on_bad`` says whether `verify`
    raises for bad files and annotations, or leaves them out. Missing files are for the format to
    report. Raises `ConfigError` and `DataError`.
    """

    absent = 0
    """The value of every pixel of a class without a mask."""
    unchecked: Collection[str] = ()
    """The ids that `verify` leaves out."""
    stacking: Stacking | None = None
    """How one file holds the masks of all classes; it stands once for each in a pair."""

    def __init__(
        self,
        samples: Listing,
        task: Task,
        labels: LabelMap,
        /,
        *,
        split: Split,
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        seed: int = 0,
        stratify: bool = True,
        group: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        channels: Annotated[int, Range(low=1)] = 3,
        value_range: tuple[float, float] | None = None,
        max_pixels: Annotated[int, Range(low=1)] = MAX_PIXELS,
        on_bad: OnBad = "error",
        check: bool = True,
    ) -> None:
        self.mode, self.class_names, self.palette = task.mode, task.class_names, colours_of(task)
        self.channels, self.value_range = channels, checked_range(value_range)
        self.mask_values, self.class_table = () if self.stacking else labels.values(), labels.rows()
        self._labels, self._split, self._by_class = labels, split, task.classes_overlap
        self._max_pixels, self._skips, self._check = max_pixels, on_bad == "skip", check
        for drawing in samples.drawings():
            drawing.on_bad = on_bad
        division = Division(val_fraction, test_fraction, seed, stratify, group, folds, fold)
        self.pairs = divide(samples, split, division, lambda numbers: self._classes_in(samples, numbers))
        self._groups = groups_of(self.pairs, group)
        self.ids, self.weights = tuple(self.pairs.ids), self.pairs.weights

    def __getitem__(self, index: int) -> RawSample:
        return self._read(index, lambda _size: None)

    def reduced(self, index: int, least: Least) -> RawSample:
        """Return the sample of that index, a JPEG decoded at a half, quarter or eighth if that is not below ``least``.

        A derived class that changes samples has them whole.
        """
        changes = type(self).__getitem__ is not PairedSource.__getitem__
        return self[index] if changes else self._read(index, least)

    def _read(self, index: int, least: Least) -> RawSample:
        pair = self.pairs[index]
        files = self._read_files(pair)
        # the mask decides whether the EXIF orientation of the photo applies, so it is read first
        shape = next((mask.shape for mask in files if mask is not None), size_drawn(pair))
        at_least = None if shape is None else least((shape[0], shape[1]))
        image, size = read_reduced(
            pair.image, at_least, channels=self.channels, mask_shape=shape, max_pixels=self._max_pixels
        )
        return RawSample(image, self._target(pair, files, size), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read the mask of that sample without its image: ``(H, W)``, or ``(C, H, W)`` if multilabel."""
        pair = self.pairs[index]
        files = self._read_files(pair)
        if not self._by_class and files[0] is not None:
            return files[0]
        # a class without a mask, or one that is drawn, needs the image's size, which takes its header alone
        shape = next((mask.shape for mask in files if mask is not None), size_drawn(pair))
        return self._target(pair, files, self._size_of(pair.image, shape))

    def fingerprint(self) -> str | None:
        """Hash the masks of the split, the value of missing ones, and the label map."""
        fingerprint = fingerprint_masks(self.pairs, self._labels)
        return fingerprint and f"{fingerprint} {self.absent} {len(self)} {self.stacking or ''}"

    def version(self) -> str | None:
        """Hash the image and mask files of the split, and all that decides how they are read."""
        stamps = digest_of(self.pairs.files(), (*self.pairs.drawing_stamps(), *self.ids))
        options = (self._labels.by_colour, self.absent, self.channels, self.stacking, self._by_class)
        return stamps and hashlib.sha256(f"{stamps} {options}".encode() + self._labels.table.tobytes()).hexdigest()

    def verify(self) -> None:
        """Check every file; raise one `DataError` with all problems, or leave the bad out if ``on_bad`` is skip.

        Warns of classes that no mask holds. Does nothing where ``check`` is false.
        """
        numbers = [number for number, name in enumerate(self.ids) if name not in self.unchecked]
        if not self._check:
            log.warning("the files for %s are not checked: data.check=false", self._split)
        if not self._check or not numbers:
            return
        if not self._skips:
            self.pairs.refuse_missing()
        held, bad = verify_pairs(
            self.pairs.take(numbers),
            self._labels,
            self.class_names,
            channels=self.channels,
            value_range=self.value_range,
            max_pixels=self._max_pixels,
            skip=self._skips,
            stacking=self.stacking,
        )
        if bad:
            self._leave_out({numbers[number] for number in bad})
        absent = self._labels.absent(held[0])
        if self._by_class:  # one set of values for the masks of each class
            absent = [name for name, values in zip(self.class_names, held, strict=True) if self._labels.absent(values)]
        if absent:
            log.warning("no mask for %s holds %s", self._split, listing(absent))

    def subject(self) -> Subject:
        """Return what the doctor of data looks at: the pairs of the split, and what their values mean."""
        numbers = [number for number, name in enumerate(self.ids) if name not in self.unchecked]
        return Subject(
            split=self._split,
            pairs=self.pairs.take(numbers),
            labels=self._labels,
            class_names=self.class_names,
            by_class=self._by_class,
            channels=self.channels,
            value_range=self.value_range,
            max_pixels=self._max_pixels,
            stacking=self.stacking,
            skips=self._skips,
            groups=self._groups and [self._groups[number] for number in numbers],
        )

    def _leave_out(self, numbers: Collection[int]) -> None:
        """Remove the samples of these numbers."""
        kept = [number for number in range(len(self)) if number not in numbers]
        if not kept:
            raise DataError(f"data.on_bad: skip leaves no sample for {self._split}; correct the files")
        self.pairs = self.pairs.take(kept)
        self.ids, self.weights = tuple(self.pairs.ids), self.pairs.weights
        if self.image_labels:
            self.image_labels = tuple(self.image_labels[number] for number in kept)

    def _size_of(self, image: Path, mask_shape: tuple[int, ...] | None) -> tuple[int, int]:
        return image_size(image, channels=self.channels, mask_shape=mask_shape, max_pixels=self._max_pixels)

    def _read_files(self, pair: Pair) -> list[NDArray[np.uint8] | None]:
        """Read the mask files of a pair as labels ``(H, W)``; None for one that is drawn, or missing."""
        if self.stacking and isinstance(pair.masks[0], Path):
            return list(read_layers(pair.masks[0], self.stacking, max_pixels=self._max_pixels))
        return [self._labels_in(file) if isinstance(file, Path) else None for file in pair.masks]

    def _labels_in(self, file: Path) -> NDArray[np.uint8]:
        """Read a mask as labels ``(H, W)``; raises `DataError` for values without a label."""
        mask = read_mask(file, by_colour=self._labels.by_colour, max_pixels=self._max_pixels)
        labels = self._labels(mask)
        if (labels == UNKNOWN).any():
            values = map(self._labels.text, self._labels.unknown(np.unique(mask).tolist()))
            raise DataError(f"{file}: mask holds {listing(values)}, expected {self._labels.expected}")
        return labels

    def _drawn(self, drawing: Drawing, image: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Draw a mask as labels ``(H, W)``; raises `DataError` for a bad annotation, unless it is to be skipped."""
        if drawing.size is not None and drawing.size != size:
            raise DataError(str(wrong_size(drawing.path, drawing.size, image, size)))
        values, problems = drawing.values(size)
        if problems and not self._skips:
            raise DataError(f"{drawing}: {problems[0]}; correct it, or set data.on_bad=skip")
        return self._labels(values)

    def _target(
        self, pair: Pair, files: Sequence[NDArray[np.uint8] | None], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Complete masks to the task's target, ``(H, W)`` or ``(C, H, W)``; raises unless they have ``size``.

        ``files`` are those read from files; ``size`` is the ``(H, W)`` of the image.
        """
        masks: list[NDArray[np.uint8]] = []
        for mask, labels in zip(pair.masks, files, strict=True):
            if isinstance(mask, Drawing):
                masks.append(self._drawn(mask, pair.image, size))
            elif mask is None or labels is None:
                masks.append(np.full(size, self.absent, np.uint8))
            elif labels.shape != size:
                raise DataError(str(wrong_size(mask, labels.shape, pair.image, size)))
            else:
                masks.append(labels)
        return np.stack(masks) if self._by_class else masks[0]

    def _classes_in(self, samples: Listing, numbers: Sequence[int]) -> list[Collection[int]]:
        """Return the labels in the mask of each sample, by which to stratify; nothing for a mask that is bad.

        Remembered while no mask changes: the facts of each file take seconds to load.
        """
        chosen = samples.take(numbers)
        fingerprint = fingerprint_masks(chosen, self._labels)
        key = hashlib.sha256(f"{fingerprint} {self._by_class} {self.stacking}".encode()).hexdigest()
        known: list[list[int]] | None = recall("classes", key) if fingerprint else None
        if known is None:
            known = [sorted(labels) for labels in self._look_for_classes(chosen)]
            if fingerprint:
                remember("classes", key, known)
        return list(known)

    def _look_for_classes(self, chosen: Listing) -> list[Collection[int]]:
        inspector = Inspector(
            chosen.files(), channels=self.channels, max_pixels=self._max_pixels, stacking=self.stacking
        )
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: decoding releases the GIL
            found = list(pool.map(lambda pair: self._labels_of(pair, inspector), chosen))
        inspector.keep()
        return found

    def _labels_of(self, pair: Pair, inspector: Inspector) -> Collection[int]:
        labels: set[int] = set()
        for number, mask in enumerate(pair.masks):
            if mask is None:
                continue
            try:
                if isinstance(mask, Drawing):
                    counts = inspector.drawing(mask, mask.size or self._size_of(pair.image, None)).counts
                else:
                    counts = inspector.mask(mask, by_colour=self._labels.by_colour, place=number).counts
            except DataError:
                continue  # `verify` reports it
            held = {int(self._labels.table[value]) for value in counts} - {UNKNOWN, IGNORE_INDEX}
            labels |= {number} if self._by_class and 1 in held else set() if self._by_class else held
        return labels


def checked_range(ends: Sequence[float] | None) -> tuple[float, float] | None:
    """Return ``value_range``, the pixel values of black and white; raises `ConfigError` unless they ascend."""
    if ends is None:
        return None
    low, high = ends
    if not low < high:
        raise ConfigError(f"data.value_range: {low:g}, {high:g}, expected black before white, such as [0,4095]")
    return low, high
