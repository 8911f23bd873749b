"""Which image and mask files belong together: those of one path below their folders, without suffix."""

import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtrain.data.files.labels import listing
from segtrain.data.files.walk import SUFFIXES, find_images, folders_in
from segtrain.errors import DataError

log = logging.getLogger(__name__)

_MOST = 0.5  # of the names that a rule has to pair, to be the reason why they do not match
_TRIED = 3  # names from which a word that is added to all is guessed


class Pair(NamedTuple):
    """The files of a sample: its mask, or a mask for each class, None for a class that has no file."""

    image: Path
    masks: tuple[Path | None, ...]


def find_pairs(images: Path, masks: Path, classes: Sequence[str]) -> dict[str, Pair]:
    """Pair each image with its mask, by id and in the order of the ids; raises `DataError` where one is alone.

    So it does for masks in folders of the classes' names, which are of another mode.
    """
    folders = [name for name in classes if (masks / name).is_dir() and not (images / name).is_dir()]
    if any(find_files(masks / name) for name in folders):
        raise DataError(
            f"{masks}: has folders of classes ({listing(f'{name}/' for name in folders)}), expected one mask for each "
            "image; set data.mode=multilabel"
        )
    image_files, mask_files = _find_some(images), _find_some(masks)
    without_mask, without_image = image_files.keys() - mask_files.keys(), mask_files.keys() - image_files.keys()
    lonely = [image_files[name] for name in without_mask] + [mask_files[name] for name in without_image]
    if lonely:
        difference = name_difference(without_mask, without_image)
        remedy = f"{difference}: rename one of the two kinds" if difference else "complete or remove them"
        raise DataError(
            f"{min(lonely)}: no file of that name in {masks if without_mask else images}, expected pairs of one stem; "
            f"images without a mask: {len(without_mask)}, masks without an image: {len(without_image)}; {remedy}"
        )
    return {name: Pair(image_files[name], (mask_files[name],)) for name in sorted(image_files)}


def name_difference(images: Collection[str], masks: Collection[str]) -> str | None:
    """Say in what the names of images and masks differ where one rule pairs most of them; None where none does."""
    rules: dict[str, Callable[[str], str]] = {
        "names differ in capital letters": str.lower,
        "names differ in leading zeros": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
        "names of one kind hold the suffix of the other": _without_suffix,
    }
    for said, rule in rules.items():
        if _share(map(rule, images), map(rule, masks), len(images)) > _MOST:
            return said
    for kind, longer, shorter in (("mask", masks, images), ("image", images, masks)):
        if word := _added_word(longer, shorter):
            return f"names of {kind}s are those of their counterparts with {word!r} added"
    return None


def _added_word(longer: Collection[str], shorter: Collection[str]) -> str | None:
    """Find the word that most of the longer names have before or behind one of the shorter; None for none."""
    stems = {PurePosixPath(name).name for name in shorter}
    for name in (PurePosixPath(name).name for name in islice(sorted(longer), _TRIED)):
        within = max((stem for stem in stems if stem in name), key=len, default="")
        before, _, after = name.partition(within) if within else ("", "", "")
        renamed = (str(path.with_name(f"{before}{path.name}{after}")) for path in map(PurePosixPath, shorter))
        if within and _share(renamed, longer, len(shorter)) > _MOST:
            return before + after
    return None


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if name.lower().endswith(SUFFIXES) else name


def _share(names: Iterable[str], others: Iterable[str], count: int) -> float:
    """Say how many of that many names are among the others, as a share."""
    return len(set(names) & set(others)) / max(1, count)


def find_class_pairs(images: Path, masks: Path, classes: Sequence[str], *, complete: bool) -> dict[str, Pair]:
    """Pair each image with its mask in the folder of each class, in the order of the classes.

    Raises `DataError` where a folder is missing, a mask is alone, or an image is though masks should be ``complete``.
    """
    image_files = _find_some(images)
    columns = [find_files(folder) for folder in _class_folders(masks, classes)]
    for name, files in zip(classes, columns, strict=True):
        _refuse_lonely(image_files, files, images, masks / name, complete=complete)
    absent = sum(len(image_files) - len(files) for files in columns)
    if absent:
        log.info("%s: %d of %d masks have no file", masks, absent, len(image_files) * len(classes))
    return {name: Pair(image_files[name], tuple(files.get(name) for files in columns)) for name in sorted(image_files)}


def _class_folders(masks: Path, classes: Sequence[str]) -> list[Path]:
    found = folders_in(masks)
    missing = [name for name in classes if not (masks / name).is_dir()]
    if missing:
        remedy = "correct data.classes" if found else "set data.mode=multiclass if one mask holds all classes"
        raise DataError(
            f"{masks}: no folder {missing[0]}/ there (found: {listing(found) or 'no folder'}), expected one with masks "
            f"for each class; make it, or {remedy}"
        )
    others = sorted(set(found) - set(classes))
    if others:
        log.warning("%s: %s not in data.classes, so not used", masks, listing(f"{name}/" for name in others))
    return [masks / name for name in classes]


def _refuse_lonely(
    image_files: Mapping[str, Path], mask_files: Mapping[str, Path], images: Path, masks: Path, *, complete: bool
) -> None:
    """Raise for a class's mask without an image, or an image without a mask of that class."""
    without_image, without_mask = mask_files.keys() - image_files.keys(), image_files.keys() - mask_files.keys()
    if without_image:
        lonely = min(mask_files[name] for name in without_image)
        raise DataError(
            f"{lonely}: no file of that name in {images}, expected pairs of one stem; masks without an image: "
            f"{len(without_image)}; add their images, or remove them"
        )
    if without_mask and complete:
        lonely = min(image_files[name] for name in without_mask)
        raise DataError(
            f"{lonely}: no file of that name in {masks}, expected a mask of each class; images without: "
            f"{len(without_mask)}; add them, or set data.missing=absent (the class is not there) or "
            "data.missing=ignore (not known)"
        )


def _find_some(folder: Path) -> dict[str, Path]:
    files = find_files(folder)
    if not files:
        raise DataError(f"{folder}: no images there, expected files of {listing(SUFFIXES)}")
    return files


def find_files(folder: Path) -> dict[str, Path]:
    """Find the image files below a folder, by their paths in it without suffix; hidden ones are passed over."""
    found: dict[str, Path] = {}
    for path in find_images(folder):
        name = stem(path, folder)
        if name in found:
            raise DataError(f"{path}: {found[name].name} has the same stem; rename or remove one of them")
        found[name] = path
    return found


def stem(path: Path, folder: Path) -> str:
    """Return the path below a folder, without suffix; an accented letter is one letter, as macOS does not store it."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
