"""Which image and mask files belong together: those of one path below their folders, without suffix."""

import logging
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segtrain.data.files import SUFFIXES, find_images, folders_in
from segtrain.data.labels import listing
from segtrain.data.names import ALIKE, SHARED, NamePatterns, name_remedy, shared_name
from segtrain.errors import DataError

log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """The files of a sample: its mask, or a mask for each class, None for a class that has no file."""

    image: Path
    masks: tuple[Path | None, ...]


def find_pairs(images: Path, masks: Path, classes: Sequence[str], patterns: NamePatterns = ALIKE) -> dict[str, Pair]:
    """Pair each image with its mask, by id and in the order of the ids; raises `DataError` where one is alone.

    So it does for masks in folders of the classes' names, which are of another mode. Images and masks may lie in one
    folder where patterns tell them apart.
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
    beside = find_files(masks, patterns.mask).values() if masks == images else ()
    image_files, mask_files = _find_some(images, patterns.image, but=beside), _find_some(masks, patterns.mask)
    without_mask, without_image = image_files.keys() - mask_files.keys(), mask_files.keys() - image_files.keys()
    lonely = [image_files[name] for name in without_mask] + [mask_files[name] for name in without_image]
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
    """Pair each image with its mask in the folder of each class, in the order of the classes.

    Raises `DataError` where a folder is missing, a mask is alone, or an image is though masks should be ``complete``.
    """
    image_files = _find_some(images, patterns.image)
    columns = [find_files(folder, patterns.mask) for folder in _class_folders(masks, classes)]
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


def _find_some(folder: Path, pattern: str, *, but: Collection[Path] = ()) -> dict[str, Path]:
    files = find_files(folder, pattern, but=but)
    if not files:
        named = "" if pattern == SHARED else f" that are named {pattern}"
        raise DataError(f"{folder}: no images there{named}, expected files of {listing(SUFFIXES)}")
    return files


def find_files(folder: Path, pattern: str = SHARED, *, but: Collection[Path] = ()) -> dict[str, Path]:
    """Find the image files below a folder, by what their paths in it have for ``*``, without suffix.

    Hidden ones and those of ``but`` are passed over, and with a word so are those that are not named as the pattern.
    """
    found: dict[str, Path] = {}
    others: list[str] = []
    taken = set(but)
    for path in find_images(folder):
        name = shared_name(stem(path, folder), pattern)
        if path in taken:
            continue
        if name is None:
            others.append(path.name)
        elif name in found:
            raise DataError(f"{path}: {found[name].name} has the same stem; rename or remove one of them")
        else:
            found[name] = path
    if others:
        log.info("%s: %d files are not named %s: %s", folder, len(others), pattern, listing(others, most=3))
    return found


def stem(path: Path, folder: Path) -> str:
    """Return the path below a folder, without suffix; an accented letter is one letter, as macOS does not store it."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
