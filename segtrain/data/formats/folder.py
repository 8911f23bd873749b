"""Datasets of image and mask files in folders, for the user's own data."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from segtrain.data.files.class_map import IGNORE, OTHER, with_colours
from segtrain.data.files.image_labels import read_image_labels
from segtrain.data.files.labels import UNKNOWN, LabelMap, listing
from segtrain.data.files.listing import Listing, Pair
from segtrain.data.files.name_patterns import SHARED, NamePatterns, check_patterns
from segtrain.data.files.pairs import find_class_pairs, find_pairs, stem
from segtrain.data.files.splits import Place, find_splits, whole_of_part
from segtrain.data.files.stacked_masks import Encoding, stacking_of
from segtrain.data.files.walk import find_images
from segtrain.data.formats.first_look import name_classes
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Split
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX, Mode, make_task

log = logging.getLogger(__name__)

Missing: TypeAlias = Literal["error", "absent", "ignore"]
MAKE_FOLDERS = "make the folders images/{split} and masks/{split}"
"""How a folder without splits can be divided."""
Finder: TypeAlias = Callable[[Path, Path], dict[str, Pair]]
"""Pairs the images in one folder with the masks in another, by id."""

STANDS_FOR: Mapping[Missing, int] = {"absent": 0, "ignore": IGNORE_INDEX}
"""The value of every pixel in a mask without a file."""


class Folder(PairedSource):
    """A dataset of image and mask files that are paired by their names.

    ``root/images`` and ``root/masks`` hold files of equal stems, with the same sub-folders if any. If
    they have ``train``, ``val`` and ``test`` folders, these are the splits.
    ``classes`` names the mask values 0..n-1; a single class is value 1, against background 0. For
    overlapping classes, ``mode`` multilabel reads one mask per class from a folder of its name,
    ``root/masks/cat``: 1 where the class is, 0 elsewhere; for a ``missing`` file, the class counts as
    absent or its pixels are ignored. With ``encoding`` bits or channels, one file holds all classes:
    bit or channel k is class k. ``class_map`` translates other values, ranges of them
    (``0-127``), colours (``128-64-0``) and all others (``other``); ``colors`` are those
    of the classes by their names instead; ``ignore_index`` are ignored values.
    ``image_name`` and ``mask_name`` are patterns for names that differ: ``*_mask`` where
    ``a_mask.png`` is the mask of ``a.jpg``.
    ``image_labels`` is a table in ``root``, such as ``labels.csv``, of the label of each whole image:
    columns ``id`` (its path below the images, without suffix) and ``label``.
    Further options are those of `PairedSource`. Raises `ConfigError` and `DataError`.
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
        class_map: Mapping[int | str, int | str] | None = None,
        colors: Mapping[str, Sequence[int] | str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        missing: Missing = "error",
        encoding: Encoding = "values",
        image_labels: str | None = None,
        **options: Any,
    ) -> None:
        class_map = with_colours(class_map, colors)
        mapped = class_map is not None or ignore_index is not None
        mode = _mode(_stacked(encoding, mode, missing, mapped=mapped), classes, missing)
        task, self.stacking = make_task(mode, classes), stacking_of(encoding, classes)
        ignore = [ignore_index] if isinstance(ignore_index, int) else list(ignore_index or ())
        patterns = NamePatterns(image_name, mask_name)
        check_patterns(patterns)
        find: Finder = partial(find_pairs, classes=classes, patterns=patterns)
        if self.stacking:
            find = _once_for_each(find, len(classes))
        elif task.classes_overlap:
            find = partial(find_class_pairs, classes=classes, patterns=patterns, complete=missing == "error")
        self.absent = STANDS_FOR.get(missing, IGNORE_INDEX)
        base, places = Path(root), Place(Path(images), Path(masks))
        super().__init__(
            _samples_for(find, base, places, split, folds=options.get("folds") is not None),
            task,
            LabelMap(task.value_names, ignore=ignore, class_map=class_map),
            split=split,
            **options,
        )
        if image_labels:
            # where splits are outermost (train/images), ids in the table are relative to the root
            below = base / images if (base / images).is_dir() else base
            names = [stem(pair.image, below) for pair in self.pairs]
            self.image_classes, self.image_labels = read_image_labels(base / image_labels, names)
        log.info("%s: %d pairs for %s; mask values mean: %s", base, len(self), split, self._labels.describe())

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split]:
        """Return the splits that have folders of their own."""
        return find_splits(Path(options["root"]), options.get("images", "images"), options.get("masks", "masks"))

    @classmethod
    def remedy_for_missing(cls, key: str, options: Mapping[str, Any]) -> str | None:
        """Return an example of ``classes``, and what the masks hold."""
        if key == "classes" and options.get("colors"):
            names = [name for name in options["colors"] if name not in (IGNORE, OTHER)]
            return f"add 'data.classes=[{','.join(names)}]' for the names in data.colors"
        return name_classes(options) if key == "classes" else None


def _stacked(encoding: Encoding, mode: Mode | None, missing: Missing, *, mapped: bool) -> Mode | None:
    """Return the mode: multilabel where a file holds all classes; raises `ConfigError` for keys that do not suit."""
    if encoding == "values":
        return mode
    if mode not in (None, "multilabel"):
        raise ConfigError(f"data.encoding: {encoding} is for classes that overlap, not data.mode={mode}; leave out one")
    if missing != "error":
        raise ConfigError(f"data.missing: {missing} is for a file per class, not data.encoding={encoding}; drop it")
    if mapped:
        raise ConfigError(
            f"data.encoding: {encoding} says what the masks hold, expected no data.class_map, data.colors or "
            "data.ignore_index beside it; leave them out"
        )
    return "multilabel"


def _once_for_each(find: Finder, count: int) -> Finder:
    """Let the one mask of a pair stand for each of so many classes."""

    def find_stacked(images: Path, masks: Path) -> dict[str, Pair]:
        return {name: Pair(pair.image, pair.masks * count) for name, pair in find(images, masks).items()}

    return find_stacked


def _mode(mode: Mode | None, classes: Sequence[str], missing: Missing) -> Mode:
    """Return the task mode; raises `ConfigError` where mode, classes and ``missing`` do not go together."""
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
    """Raise `ConfigError` for class names that no folder can have, or for too many classes."""
    if len(classes) > UNKNOWN:
        raise ConfigError(f"data.classes: {len(classes)} names, expected at most {UNKNOWN}")
    for name in classes:
        if Path(name).name != name:
            raise ConfigError(f"data.classes: {name!r}, expected names that folders can have; rename it")


def _samples_for(find: Finder, base: Path, names: Place, split: Split, *, folds: bool) -> Listing:
    """Find the samples that a split is taken from, and the splits that have folders.

    Where ``train`` has a folder but ``val`` or ``test`` has none, that is held out from ``train``.
    Folders that are not needed are not read.
    """
    places = find_splits(base, str(names.images), str(names.masks))
    if not places:
        if split == "train" and (problem := whole_of_part(base, str(names.images))):
            log.warning("%s", problem)
        return Listing.of(find(base / names.images, base / names.masks), to_divide=MAKE_FOLDERS)
    if split == "train":
        _mention_strays(base / names.images, places)
    if split == "all" or folds:
        return _join(find, places)
    needed: Split = split if split in places else "train"
    if needed not in places:
        there = listing(f"{place.images.relative_to(base)}/" for place in places.values())
        raise DataError(f"{base}: no folder for {split} beside {there}, expected one for train; make it")
    pairs = find(*places[needed])
    return Listing.of(pairs, splits=[needed] * len(pairs), given=frozenset(places), to_divide=MAKE_FOLDERS)


def _mention_strays(images: Path, places: Mapping[Split, Place]) -> None:
    """Warn of images outside the folders of the splits: they are not used."""
    if not images.is_dir():
        return
    folders = [place.images for place in places.values()]
    strays = [path for path in find_images(images) if not any(path.is_relative_to(folder) for folder in folders)]
    if strays:
        there = listing(f"{place.images.name}/" for place in places.values())
        log.warning("%s: outside %s, so not used: %s", images, there, listing(path.name for path in strays))


def _join(find: Finder, places: Mapping[Split, Place]) -> Listing:
    """Find the samples of all splits, with ids such as ``train/a``: splits may share file names."""
    pairs: dict[str, Pair] = {}
    splits: list[Split] = []
    for split, place in places.items():
        found = find(*place)
        pairs |= {f"{split}/{name}": pair for name, pair in found.items()}
        splits += [split] * len(found)
    return Listing.of(pairs, splits=splits, to_divide=MAKE_FOLDERS)
