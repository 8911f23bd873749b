"""Datasets of image and mask files in folders, for the user's own data."""

import logging
import shlex
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from segtrain.config.words import quote
from segtrain.data.files.class_map import IGNORE, OTHER
from segtrain.data.files.image_labels import read_image_labels
from segtrain.data.files.labels import listing
from segtrain.data.files.listing import Listing, Pair
from segtrain.data.files.lists import find_name, read_lines
from segtrain.data.files.name_patterns import SHARED, NamePatterns, check_patterns, pattern_beside
from segtrain.data.files.pairs import find_class_pairs, find_pairs, stem
from segtrain.data.files.splits import MASK_WORDS, Place, find_splits, suggested, typed_folders, whole_of_part
from segtrain.data.files.walk import SUFFIXES, find_images, folders_in, is_visible
from segtrain.data.formats.first_look import class_words, name_classes
from segtrain.data.formats.valued import ValuedSource, Wanted
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

log = logging.getLogger(__name__)

MAKE_FOLDERS = "make the folders images/{split} and masks/{split}"
"""How a folder without splits can be divided."""
Finder: TypeAlias = Callable[[Path, Path], dict[str, Pair]]
"""Pairs the images in one folder with the masks in another, by id."""

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Folder(ValuedSource):
    """A dataset of image and mask files that are paired by their names.

    ``root/images`` and ``root/masks`` hold files of equal stems, with the same sub-folders if any. If
    they have ``train``, ``val`` and ``test`` folders, these are the splits; or ``train_list``,
    ``val_list`` and ``test_list`` are text files in ``root`` that name the images of a split.
    With ``mode`` multilabel, the masks of a class lie in a folder of its name, ``root/masks/cat``.
    ``image_name`` and ``mask_name`` are patterns for names that differ: ``*_mask`` where
    ``a_mask.png`` is the mask of ``a.jpg``.
    ``image_labels`` is a table in ``root``, such as ``labels.csv``, of the label of each whole image:
    columns ``id`` (its path below the images, without suffix) and ``label``.
    Further options are those of `ValuedSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        images: str = "images",
        masks: str = "masks",
        image_name: str = SHARED,
        mask_name: str = SHARED,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        image_labels: str | None = None,
        **options: Any,
    ) -> None:
        patterns = NamePatterns(image_name, mask_name)
        check_patterns(patterns)
        base, places = Path(root), Place(Path(images), Path(masks))
        named = _chosen({"train": train_list, "val": val_list, "test": test_list}, base)

        def samples_for(wanted: Wanted) -> Listing:
            find: Finder = partial(find_pairs, classes=wanted.classes, patterns=patterns)
            if wanted.by_class:
                find = partial(find_class_pairs, classes=wanted.classes, patterns=patterns, complete=wanted.complete)
            if named:
                return _listed(find(base / places.images, base / places.masks), named)
            return _samples_for(find, base, places, split, folds=options.get("folds") is not None)

        super().__init__(samples_for, split=split, **options)
        if image_labels:
            # where splits are outermost (train/images), ids in the table are relative to the root
            below = base / images if (base / images).is_dir() else base
            names = [stem(pair.image, below) for pair in self.pairs]
            self.image_classes, self.image_labels = read_image_labels(base / image_labels, names)
        log.info("%s: %d pairs for %s; mask values mean: %s", base, len(self), split, self._labels.describe())

    looks_for = (
        "images/ and masks/, or other folders of images of which one is called like masks, or a.jpg beside a_mask.png"
    )

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for folders of images and masks, of any names that tell which are which."""
        try:
            find_splits(root, "images", "masks")
        except DataError:
            names = suggested(root) or _two_folders(root)
            if names is None:
                return _in_one_folder(root)
            words = (*shlex.split(typed_folders(*names)), *class_words(root, *names))
            return Recognised(f"the folders {names[0]}/ and {names[1]}/", words, general=True)
        return Recognised("the folders images/ and masks/", class_words(root, "images", "masks"), general=True)

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split]:
        """Return the splits that have folders or lists of their own."""
        if named := {split: options[f"{split}_list"] for split in SPLITS if options.get(f"{split}_list")}:
            return named
        return find_splits(Path(options["root"]), options.get("images", "images"), options.get("masks", "masks"))

    @classmethod
    def remedy_for_missing(cls, key: str, options: Mapping[str, Any]) -> str | None:
        """Return an example of ``classes``, and what the masks hold."""
        if key == "classes" and options.get("colors"):
            names = [name for name in options["colors"] if name not in (IGNORE, OTHER)]
            return f"add 'data.classes=[{','.join(names)}]' for the names in data.colors"
        return name_classes(options) if key == "classes" else None


def _in_one_folder(root: Path) -> Recognised | None:
    """Look for images and masks beside each other, told apart by a part of their names."""
    names = {path.stem for path in root.iterdir() if path.suffix.lower() in SUFFIXES and is_visible(path.name)}
    pattern = pattern_beside(names, MASK_WORDS)
    if pattern is None:
        return None
    name = pattern.mask if pattern.mask.replace("_", "").replace("*", "").isalnum() else quote(pattern.mask)
    words = ("data.images=.", "data.masks=.", f"data.mask_name={name}")
    return Recognised(f"images and masks called {pattern.mask} beside them", words, general=True)


def _two_folders(root: Path) -> tuple[str, str] | None:
    """Return the names of two folders with images in a folder, where one is plainly that of the masks."""
    holding = [
        name
        for name in folders_in(root)
        if any(str(path).lower().endswith(SUFFIXES) for path in (root / name).iterdir())
    ]
    masks = [name for name in holding if any(word in name.lower() for word in MASK_WORDS)]
    images = [name for name in holding if name not in masks]
    return (images[0], masks[0]) if len(images) == len(masks) == 1 else None


def _chosen(lists: Mapping[Split, str | None], base: Path) -> dict[Split, Path]:
    """Return the list file of each split that has one."""
    return {split: base / name for split, name in lists.items() if name is not None}


def _listed(pairs: Mapping[str, Pair], lists: Mapping[Split, Path]) -> Listing:
    """Choose the pairs that lists name; raises `DataError` for names without a pair, or in two lists."""
    chosen: dict[str, Pair] = {}
    splits: list[Split] = []
    for split, path in lists.items():
        for line in read_lines(path):
            name = find_name(line, pairs)
            if name is None or name in chosen:
                problem = "is listed before" if name else f"is no image there, expected such as {min(pairs)!r}"
                raise DataError(f"{path}: {line[:80]!r} {problem}; take the line out, or correct it")
            chosen[name] = pairs[name]
            splits.append(split)
    if len(chosen) < len(pairs):
        log.info("%d of %d pairs are in no list, so not used", len(pairs) - len(chosen), len(pairs))
    remedy = "name a list of them: data.{split}_list={split}.txt"
    return Listing.of(chosen, splits=splits, given=frozenset(lists), to_divide=remedy)


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
