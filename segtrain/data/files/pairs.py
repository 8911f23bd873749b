"""Pairing of image and mask files, by their paths below two folders, without suffix."""

import logging
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from segtrain.data.files.labels import listing
from segtrain.data.files.listing import Pair
from segtrain.data.files.name_patterns import ALIKE, SHARED, NamePatterns, name_remedy, shared_name
from segtrain.data.files.walk import SUFFIXES, folders_in, image_names
from segtrain.errors import DataError
from segtrain.terminal.console import ONCE

log = logging.getLogger(__name__)


def find_pairs(images: Path, masks: Path, classes: Sequence[str], patterns: NamePatterns = ALIKE) -> dict[str, Pair]:
    """Pair each image with its mask; returns pairs by id, sorted by id.

    Images and masks may lie in one folder if patterns tell them apart. Raises `DataError` where an
    image or a mask is alone, or masks lie in folders of classes, which are for multilabel tasks.
    """
    if masks == images and patterns.mask == patterns.image:
        raise DataError(
            f"{images}: is the folder of images and of masks, expected names that tell them apart; set "
            "'data.mask_name=*_mask' if a_mask.png is the mask of a.jpg"
        )
    folders = [name for name in classes if (masks / name).is_dir() and not (images / name).is_dir()]
    if any(find_files(masks / name) for name in folders):
        raise DataError(
            f"{masks}: has folders of classes ({listing(f'{name}/' for name in folders)}), expected one mask for each "
            "image; set data.mode=multilabel"
        )
    # in one folder, the pattern ``*`` of images matches the masks too
    beside = find_files(masks, patterns.mask).values() if masks == images else ()
    image_files = _find_some(images, patterns.image, but=beside)
    mask_files = _find_some(masks, patterns.mask)
    without_mask = image_files.keys() - mask_files.keys()
    without_image = mask_files.keys() - image_files.keys()
    lonely = [image_files[name] for name in without_mask]
    lonely += [mask_files[name] for name in without_image]
    if lonely:
        remedy = name_remedy(without_mask, without_image) if patterns == ALIKE else None
        raise DataError(
            f"{min(lonely)}: no file of that name in {masks if without_mask else images}, expected pairs of one stem; "
            f"images without a mask: {len(without_mask)}, masks without an image: {len(without_image)}; "
            f"{remedy or 'complete or remove them'}"
        )
    return {name: Pair(image_files[name], (mask_files[name],)) for name in sorted(image_files)}


def find_class_pairs(
    images: Path, masks: Path, classes: Sequence[str], patterns: NamePatterns = ALIKE, *, complete: bool
) -> dict[str, Pair]:
    """Pair each image with its masks, one from the folder of each class, in the order of the classes.

    Raises `DataError` where a folder is missing, a mask has no image, or, if ``complete``, an image
    has no mask of some class.
    """
    image_files = _find_some(images, patterns.image)
    columns = [find_files(folder, patterns.mask) for folder in _class_folders(masks, classes)]
    for name, files in zip(classes, columns, strict=True):
        _refuse_lonely(image_files, files, images, masks / name, complete=complete)
    absent = sum(len(image_files) - len(files) for files in columns)
    if absent:
        log.info("%s: %d of %d masks have no file", masks, absent, len(image_files) * len(classes), extra=ONCE)
    return {name: Pair(image_files[name], tuple(files.get(name) for files in columns)) for name in sorted(image_files)}


def _class_folders(masks: Path, classes: Sequence[str]) -> list[Path]:
    """Return the folder of each class; raises `DataError` where one is missing, warns of others."""
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
        log.warning(
            "%s: %s not in data.classes, so not used", masks, listing(f"{name}/" for name in others), extra=ONCE
        )
    return [masks / name for name in classes]


def _refuse_lonely(
    image_files: Mapping[str, Path], mask_files: Mapping[str, Path], images: Path, masks: Path, *, complete: bool
) -> None:
    """Raise for a mask of a class without an image, or, if ``complete``, an image without such a mask."""
    without_image = mask_files.keys() - image_files.keys()
    without_mask = image_files.keys() - mask_files.keys()
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


def _find_some(folder: Path, pattern: str, *, but: Collection[Path] = ()) -> dict[str, Path]:
    files = find_files(folder, pattern, but=but)
    if not files:
        named = "" if pattern == SHARED else f" that are named {pattern}"
        raise DataError(f"{folder}: no images there{named}, expected files of {listing(SUFFIXES)}")
    return files


def find_files(folder: Path, pattern: str = SHARED, *, but: Collection[Path] = ()) -> dict[str, Path]:
    """Find the image files below a folder, by their path in it without suffix, or its part for ``*``.

    Hidden files and those in ``but`` are left out; files that do not match the pattern are logged.
    Raises `DataError` where two files have the same stem.
    """
    found: dict[str, Path] = {}
    others: list[str] = []
    taken = set(but)
    for below in image_names(folder):  # text and not paths, which take ten times as long
        name = shared_name(_without_suffix(below), pattern)
        path = folder / below
        if taken and path in taken:  # hashing a path takes as long as making it
            continue
        if name is None:
            others.append(path.name)
        elif name in found:
            raise DataError(f"{path}: {found[name].name} has the same stem; rename or remove one of them")
        else:
            found[name] = path
    if others:
        log.info("%s: %d files are not named %s: %s", folder, len(others), pattern, listing(others, most=3), extra=ONCE)
    return found


def stem(path: Path, folder: Path) -> str:
    """Return the path below a folder without suffix, normalized to NFC."""
    return _without_suffix(path.relative_to(folder).as_posix())


def _without_suffix(path: str) -> str:
    # macOS stores accented letters as two code points, which would not match a mask from elsewhere
    before, dot, after = path.rpartition(".")
    return unicodedata.normalize("NFC", before if dot and "/" not in after else path)
