"""Pairs of image and mask files in folders, as people keep their own data."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrain.data.image_labels import read_image_labels
from segtrain.data.images import SUFFIXES, read_image, read_mask
from segtrain.data.labels import UNKNOWN, LabelMap, listing
from segtrain.data.palette import palette
from segtrain.data.pixel_counts import fingerprint_masks
from segtrain.data.sample import RawSample, Split
from segtrain.data.verify import Pair, verify_pairs, wrong_size
from segtrain.errors import ConfigError, DataError
from segtrain.task import Mode, make_task

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Folder:
    """Images and masks that belong together by their names.

    ``root/images`` and ``root/masks`` hold files of equal stems, in sub-folders too if so in both. Where they are
    divided into ``train``, ``val`` and ``test`` folders, these are the splits; otherwise a share of the files, chosen
    by ``seed`` and name, is set aside. ``classes`` names the mask values 0..n-1; a single class is value 1, against
    background 0. ``class_map`` translates other values, ``ignore_index`` are values in the files that do not count.
    ``image_labels`` is a table in ``root``, such as ``labels.csv``, of the label of every image: columns ``id`` (its
    path below the images, without suffix) and ``label``. Raises `ConfigError` and `DataError`.
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
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        seed: int = 0,
        class_map: Mapping[int, int] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        image_labels: str | None = None,
        channels: int = 3,
        check: bool = True,
    ) -> None:
        self.mode: Mode = _mode(mode, classes)
        self.class_names = tuple(classes)
        self.channels = channels
        label_names = make_task(self.mode, classes).label_names
        self.palette = palette(len(label_names))
        ignore = [ignore_index] if isinstance(ignore_index, int) else list(ignore_index or ())
        self._labels = LabelMap(label_names, ignore=ignore, class_map=class_map)
        self._check = check
        self._split = split
        base = Path(root)
        shares = {"val": val_fraction, "test": test_fraction}
        image_folder = _folder(base, "images", images)
        self._pairs = _pairs_of_split(image_folder, _folder(base, "masks", masks), split, shares, seed)
        self.ids = tuple(self._pairs)
        self.image_classes: tuple[str, ...] = ()
        self.image_labels: tuple[int, ...] = ()
        if image_labels:
            names = [_stem(pair.image, image_folder) for pair in self._pairs.values()]
            self.image_classes, self.image_labels = read_image_labels(base / image_labels, names)
        log.info("%s: %d pairs for %s; mask values: %s", base, len(self), split, self._labels.describe())

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> RawSample:
        pair = self._pairs[self.ids[index]]
        image, labels = read_image(pair.image, channels=self.channels), self.mask(index)
        if image.shape[:2] != labels.shape:
            raise DataError(wrong_size(pair, image.shape[:2], labels.shape))
        return RawSample(image, labels, self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read and translate the mask of that sample, ``(H, W)``."""
        path = self._pairs[self.ids[index]].mask
        mask = read_mask(path)
        labels = self._labels(mask)
        if (labels == UNKNOWN).any():
            values = self._labels.unknown(np.unique(mask).tolist())
            raise DataError(f"{path}: mask holds {listing(values)}, expected {self._labels.expected}")
        return labels

    def fingerprint(self) -> str | None:
        """Follow the mask files of the split, and the translation of their values."""
        return fingerprint_masks((pair.mask for pair in self._pairs.values()), self._labels)

    def verify(self) -> None:
        """Look into every file, unless ``check`` is off, and raise one `DataError` with all that is wrong."""
        if not self._check:
            log.warning("the files for %s are not checked: data.check=false", self._split)
            return
        absent = self._labels.absent(verify_pairs(list(self._pairs.values()), self._labels, self.class_names))
        if absent:
            log.warning("no mask for %s holds %s", self._split, listing(absent))


def _mode(mode: Mode | None, classes: Sequence[str]) -> Mode:
    """Check mode and class names against each other."""
    if not classes:
        raise ConfigError("data.classes: no names, expected one for each mask value, such as 'data.classes=[cat,dog]'")
    doubles = [name for name in dict.fromkeys(classes) if list(classes).count(name) > 1]
    if doubles:
        raise ConfigError(f"data.classes: {listing(doubles)} more than once, expected distinct names")
    if mode == "multilabel":
        raise ConfigError("data.mode: multilabel is not possible with data=folder; set data.mode=binary or multiclass")
    single = len(classes) == 1
    if mode == "binary" and not single:
        raise ConfigError(f"data.mode: binary, but data.classes has {len(classes)} names; set data.mode=multiclass")
    if mode == "multiclass" and single:
        raise ConfigError(
            f"data.mode: multiclass, but data.classes has one name; set 'data.classes=[background,{classes[0]}]'"
        )
    return "binary" if single else "multiclass"


def _folder(root: Path, key: str, name: str) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds {name}/")
    path = root / name
    if not path.is_dir():
        found = listing(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) or "no folder"
        raise DataError(f"{root}: no folder {name}/ there (found: {found}); set data.{key}=<folder with the {key}>")
    return path


def _pairs_of_split(images: Path, masks: Path, split: Split, shares: Mapping[str, float], seed: int) -> dict[str, Pair]:
    """Find the pairs of one split, by id, in the order of their ids."""
    if any((images / name).is_dir() for name in SPLITS):
        for folder in (images / split, masks / split):
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder, expected one for {split} beside the others; make it")
        return _pairs(images / split, masks / split)
    pairs = _pairs(images, masks)
    chosen = _choose(list(pairs), split, shares, seed)
    log.info("%s: no train/ or val/ there, so %s is a share chosen by data.seed=%d", images, split, seed)
    return {name: pairs[name] for name in chosen}


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


def _pairs(images: Path, masks: Path) -> dict[str, Pair]:
    """Pair the files of two folders by their paths without suffix."""
    image_files, mask_files = find_files(images), find_files(masks)
    for folder, files in ((images, image_files), (masks, mask_files)):
        if not files:
            raise DataError(f"{folder}: no images there, expected files of {listing(SUFFIXES)}")
    without_mask, without_image = image_files.keys() - mask_files.keys(), mask_files.keys() - image_files.keys()
    lonely = [image_files[name] for name in without_mask] + [mask_files[name] for name in without_image]
    if lonely:
        raise DataError(
            f"{min(lonely)}: no file of that name in {masks if without_mask else images}, expected pairs of one stem; "
            f"images without a mask: {len(without_mask)}, masks without an image: {len(without_image)}; "
            "complete or remove them"
        )
    return {name: Pair(image_files[name], mask_files[name]) for name in sorted(image_files)}


def find_files(folder: Path) -> dict[str, Path]:
    """Find the image files below a folder, by their paths in it without suffix; hidden ones are passed over."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        name = _stem(path, folder)
        if name in found:
            raise DataError(f"{path}: {found[name].name} has the same stem; rename or remove one of them")
        found[name] = path
    return found


def _stem(path: Path, folder: Path) -> str:
    """Return the path below a folder, without suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()
