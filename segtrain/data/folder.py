"""Pairs of image and mask files in folders, as people keep their own data."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.data.files import find_images
from segtrain.data.image_labels import read_image_labels
from segtrain.data.images import MAX_PIXELS, image_size, read_image, read_mask
from segtrain.data.labels import UNKNOWN, LabelMap, listing
from segtrain.data.names import SHARED, NamePatterns, check_patterns
from segtrain.data.pairs import Pair, find_class_pairs, find_pairs, stem
from segtrain.data.palette import colours_of
from segtrain.data.pixel_counts import fingerprint_masks
from segtrain.data.sample import RawSample, Source, Split
from segtrain.data.splits import Place, find_splits, whole_of_part
from segtrain.data.verify import verify_pairs, wrong_size
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX, Mode, make_task

log = logging.getLogger(__name__)

Missing: TypeAlias = Literal["error", "absent", "ignore"]
Finder: TypeAlias = Callable[[Path, Path], dict[str, Pair]]
"""Pairs the images of one folder with the masks of another."""

STANDS_FOR: Mapping[Missing, int] = {"absent": 0, "ignore": IGNORE_INDEX}
"""What a mask without a file holds everywhere."""


class Folder(Source):
    """Images and masks that belong together by their names.

    ``root/images`` and ``root/masks`` hold files of equal stems, in sub-folders too if so in both. Where they are
    divided into ``train``, ``val`` and ``test`` folders, these are the splits; otherwise a share of the files, chosen
    by ``seed`` and name, is set aside. ``classes`` names the mask values 0..n-1; a single class is value 1, against
    background 0. For classes that overlap, ``mode`` multilabel takes a mask of each class from a folder of its name,
    ``root/masks/cat``: 1 where the class is, 0 elsewhere; where a file is ``missing``, the class can count as absent,
    or not count at all. ``class_map`` translates other values, ranges of them (``0-127``), colours (``128-64-0``) and
    all the rest (``other``); ``ignore_index`` are values that do not count.
    ``image_name`` and ``mask_name`` are patterns of names that are not alike: ``*_mask`` where ``a_mask.png`` is the
    mask of ``a.jpg``.
    ``image_labels`` is a table in ``root``, such as ``labels.csv``, of the label of every image: columns ``id`` (its
    path below the images, without suffix) and ``label``. ``value_range`` are the pixel values that are black and white,
    where they are not 0 and 255 (8 bits), 65535 (16 bits) or 1 (floats); files of more than ``max_pixels`` are refused.
    Raises `ConfigError` and `DataError`.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        classes: Sequence[str],
        mode: Mode | None = None,
        images: str = "images",
        masks: str = "masks",
        image_name: str = SHARED,
        mask_name: str = SHARED,
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        seed: int = 0,
        class_map: Mapping[int | str, int | str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        missing: Missing = "error",
        image_labels: str | None = None,
        channels: Annotated[int, Range(low=1)] = 3,
        value_range: tuple[float, float] | None = None,
        max_pixels: Annotated[int, Range(low=1)] = MAX_PIXELS,
        check: bool = True,
    ) -> None:
        self.mode = _mode(mode, classes, missing)
        self.class_names = tuple(classes)
        self.channels = channels
        self.value_range = checked_range(value_range)
        self._max_pixels = max_pixels
        task = make_task(self.mode, classes)
        self.palette = colours_of(task)
        ignore = [ignore_index] if isinstance(ignore_index, int) else list(ignore_index or ())
        self._labels = LabelMap(task.value_names, ignore=ignore, class_map=class_map)
        self._by_class = task.classes_overlap
        self._missing: Missing = missing
        self._check = check
        self._split = split
        base = Path(root)
        shares = {"val": val_fraction, "test": test_fraction}
        patterns = NamePatterns(image_name, mask_name)
        check_patterns(patterns)
        find: Finder = partial(find_pairs, classes=classes, patterns=patterns)
        if self._by_class:
            find = partial(find_class_pairs, classes=classes, patterns=patterns, complete=missing == "error")
        self._pairs = _pairs_of_split(find, base, Place(Path(images), Path(masks)), split, shares, seed)
        self.ids = tuple(self._pairs)
        if image_labels:
            below = base / images if (base / images).is_dir() else base
            names = [stem(pair.image, below) for pair in self._pairs.values()]
            self.image_classes, self.image_labels = read_image_labels(base / image_labels, names)
        log.info("%s: %d pairs for %s; mask values mean: %s", base, len(self), split, self._labels.describe())

    def __getitem__(self, index: int) -> RawSample:
        pair = self._pairs[self.ids[index]]
        masks = self._read(pair)
        shape = next((mask.shape for mask in masks if mask is not None), None)
        image = read_image(pair.image, channels=self.channels, mask_shape=shape, max_pixels=self._max_pixels)
        return RawSample(image, self._target(pair, masks, image.shape[:2]), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read and translate the mask of that sample, ``(H, W)``, or those of its classes, ``(C, H, W)``."""
        pair = self._pairs[self.ids[index]]
        masks = self._read(pair)
        if not self._by_class:
            return self._target(pair, masks, None)
        shape = next((mask.shape for mask in masks if mask is not None), None)
        return self._target(pair, masks, image_size(pair.image, mask_shape=shape, max_pixels=self._max_pixels))

    def _read(self, pair: Pair) -> list[NDArray[np.uint8] | None]:
        """Read and translate the masks of a pair, None where there is no file."""
        return [None if file is None else self._read_file(file) for file in pair.masks]

    def _read_file(self, file: Path) -> NDArray[np.uint8]:
        mask = read_mask(file, by_colour=self._labels.by_colour, max_pixels=self._max_pixels)
        labels = self._labels(mask)
        if (labels == UNKNOWN).any():
            values = map(self._labels.text, self._labels.unknown(np.unique(mask).tolist()))
            raise DataError(f"{file}: mask holds {listing(values)}, expected {self._labels.expected}")
        return labels

    def _target(
        self, pair: Pair, masks: Sequence[NDArray[np.uint8] | None], size: tuple[int, ...] | None
    ) -> NDArray[np.uint8]:
        """Lay out the masks of a pair as the task has them; ``size`` is that of its image, which they need to have."""
        for file, mask in zip(pair.masks, masks, strict=True):
            if file is not None and mask is not None and size is not None and mask.shape != size:
                raise DataError(wrong_size(file, mask.shape, pair.image, size))
        if not self._by_class:
            assert masks[0] is not None
            return masks[0]
        return np.stack([self._absent(size) if mask is None else mask for mask in masks])

    def _absent(self, size: tuple[int, ...] | None) -> NDArray[np.uint8]:
        """Make the mask of a class that has no file."""
        assert size is not None
        return np.full(size, STANDS_FOR[self._missing], np.uint8)

    def fingerprint(self) -> str | None:
        """Follow the mask files of the split, what a missing one counts as, and the translation of their values."""
        files = (file for pair in self._pairs.values() for file in pair.masks if file is not None)
        fingerprint = fingerprint_masks(files, self._labels)
        return fingerprint and f"{fingerprint} {self._missing} {len(self)}"

    def verify(self) -> None:
        """Look into every file, unless ``check`` is off, and raise one `DataError` with all that is wrong."""
        if not self._check:
            log.warning("the files for %s are not checked: data.check=false", self._split)
            return
        pairs = list(self._pairs.values())
        held = verify_pairs(
            pairs,
            self._labels,
            self.class_names,
            channels=self.channels,
            value_range=self.value_range,
            max_pixels=self._max_pixels,
        )
        absent = self._labels.absent(held[0])
        if self._by_class:
            absent = [name for name, values in zip(self.class_names, held, strict=True) if self._labels.absent(values)]
        if absent:
            log.warning("no mask for %s holds %s", self._split, listing(absent))


def checked_range(ends: Sequence[float] | None) -> tuple[float, float] | None:
    """Return ``value_range``, the pixel values that are black and white; raises ConfigError unless they ascend."""
    if ends is None:
        return None
    low, high = ends
    if not low < high:
        raise ConfigError(f"data.value_range: {low:g}, {high:g}, expected black before white, such as [0,4095]")
    return low, high


def _mode(mode: Mode | None, classes: Sequence[str], missing: Missing) -> Mode:
    """Check mode, class names and what a missing mask stands for against each other."""
    if not classes:
        raise ConfigError("data.classes: no names, expected one for each mask value, such as 'data.classes=[cat,dog]'")
    doubles = [name for name in dict.fromkeys(classes) if list(classes).count(name) > 1]
    if doubles:
        raise ConfigError(f"data.classes: {listing(doubles)} more than once, expected distinct names")
    if mode == "multilabel":
        _refuse_as_folders(classes)
        return mode
    if missing != "error":
        raise ConfigError(f"data.missing: {missing} is for data.mode=multilabel alone; leave it out")
    single = len(classes) == 1
    if mode == "binary" and not single:
        raise ConfigError(f"data.mode: binary, but data.classes has {len(classes)} names; set data.mode=multiclass")
    if mode == "multiclass" and single:
        raise ConfigError(
            f"data.mode: multiclass, but data.classes has one name; set 'data.classes=[background,{classes[0]}]'"
        )
    return "binary" if single else "multiclass"


def _refuse_as_folders(classes: Sequence[str]) -> None:
    """Raise ConfigError for names of which masks of classes cannot lie in folders, or for too many."""
    if len(classes) > UNKNOWN:
        raise ConfigError(f"data.classes: {len(classes)} names, expected at most {UNKNOWN}")
    for name in classes:
        if Path(name).name != name:
            raise ConfigError(f"data.classes: {name!r}, expected names that folders can have; rename it")


def _pairs_of_split(
    find: Finder, base: Path, names: Place, split: Split, shares: Mapping[str, float], seed: int
) -> dict[str, Pair]:
    """Find the pairs of one split, by id, in the order of their ids.

    Where ``train`` has a folder but ``val`` or ``test`` has none, that is a share of ``train``.
    """
    places = find_splits(base, str(names.images), str(names.masks))
    whole = Place(base / names.images, base / names.masks)
    if split == "all":
        return _join(find, places) if places else find(*whole)
    if split in places and split != "train":
        return find(*places[split])
    if places and "train" not in places:
        there = listing(f"{place.images.relative_to(base)}/" for place in places.values())
        raise DataError(f"{base}: no folder for {split} beside {there}, expected one for train; make it")
    if split == "train" and places:
        _mention_strays(base / names.images, places)
    if split == "train" and not places and (problem := whole_of_part(base, str(names.images))):
        log.warning("%s", problem)
    pairs = find(*places.get("train", whole))
    shares = {name: 0.0 if name in places else share for name, share in shares.items()}
    if split == "train" and not any(shares.values()):
        return pairs
    chosen = _choose(list(pairs), split, shares, seed)
    where = (
        f"no folder for {listing(name for name in shares if shares[name])} there"
        if places
        else "no folders of splits there"
    )
    log.info("%s: %s, so %s is a share chosen by data.seed=%d", base, where, split, seed)
    return {name: pairs[name] for name in chosen}


def _mention_strays(images: Path, places: Mapping[Split, Place]) -> None:
    """Say which images beside the folders of the splits are not used."""
    if not images.is_dir():
        return
    strays = [
        path for path in find_images(images) if not any(path.is_relative_to(place.images) for place in places.values())
    ]
    if strays:
        there = listing(f"{place.images.name}/" for place in places.values())
        log.warning("%s: outside %s, so not used: %s", images, there, listing(path.name for path in strays))


def _join(find: Finder, places: Mapping[Split, Place]) -> dict[str, Pair]:
    """Find the pairs of all splits; their ids begin with that of the split."""
    return {f"{split}/{name}": pair for split, place in places.items() for name, pair in find(*place).items()}


def _choose(names: list[str], split: Split, shares: Mapping[str, float], seed: int) -> list[str]:
    """Pick the names of a split; which ones depends on seed and names, not on the order of the listing."""
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        raise ConfigError(f"data.val_fraction, data.test_fraction: {listing(shares.values())}, expected a sum below 1")
    if shares.get(split) == 0:
        raise DataError(
            f"data: no images are set aside for {split}; train with data.{split}_fraction=0.1, "
            f"or make the folders images/{split} and masks/{split}"
        )
    shuffled = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    val, test = (max(1, round(len(names) * share)) if share else 0 for share in (shares["val"], shares["test"]))
    parts: dict[Split, list[str]] = {
        "val": shuffled[:val],
        "test": shuffled[val : val + test],
        "train": shuffled[val + test :],
    }
    if not all(parts[name] for name in parts if name == "train" or shares[name]):
        raise DataError(
            f"data: {len(names)} pairs are too few to set some aside; add more, or make train/ and val/ folders"
        )
    return sorted(parts[split])
