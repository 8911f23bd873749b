"""The values in a few masks of a folder, to show a user who has not named the classes yet."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from segtrain.config.words import quote, typed
from segtrain.data.files.images import ColourMaskError
from segtrain.data.files.inspection import look_into_mask
from segtrain.data.files.labels import MANY, listing
from segtrain.data.files.name_patterns import SHARED
from segtrain.data.files.pairs import find_files
from segtrain.data.files.splits import Place, find_splits
from segtrain.data.files.walk import SUFFIXES, folders_in, image_names
from segtrain.errors import DataError

WHITE = "data.class_map={0: 0, 255: 1}"
"""The override for masks of black and white."""
FEW = 5
"""Masks that are read."""


def name_classes(data: Mapping[str, Any]) -> str:
    """Return the remedy for missing ``data.classes``: those with folders, or an example and values in a few masks."""
    if data.get("mode") in (None, "multilabel") and (words := _words_for(data)):
        return f"its masks lie in folders of classes: set {' '.join(map(typed, words))}"
    return f"give the names of the mask values 0, 1, ..., such as 'data.classes=[background,cat]'{_found(data)}"


def _found(data: Mapping[str, Any]) -> str:
    """Describe the values in the first few masks, or the class folders; empty where they cannot be read."""
    root, images, masks = (str(data.get(key)) for key in ("root", "images", "masks"))
    try:
        places = [place.masks for place in find_splits(Path(root), images, masks).values()] or [Path(root) / masks]
        if data.get("mode") == "multilabel":
            return f"; {places[0]} has the folders {listing(folders_in(places[0])) or 'of none'}"
        return values_in(list(islice(_files(places, str(data.get("mask_name") or SHARED)), FEW)))
    except (DataError, OSError):
        return ""


def values_in(few: Sequence[Path]) -> str:
    """Describe the values in a few masks, as the end of a line; empty where they cannot be read."""
    try:
        values = sorted({value for file in few for value in look_into_mask(file).counts})
    except ColourMaskError:
        return "; its masks hold colours: map them too, such as 'data.class_map={0-0-0: 0, 128-0-0: 1}'"
    except (DataError, OSError):
        return ""
    if not values:
        return ""
    shown = f"{len(values)} values" if len(values) > MANY else listing(values, most=12)
    white = f"; map 255: {typed(WHITE)}" if values == [0, 255] else ""
    return f"; the first {len(few)} masks hold {shown}{white}"


def _files(places: list[Path], pattern: str) -> Iterator[Path]:
    for place in places:
        yield from find_files(place, pattern).values()


def _words_for(data: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return class_words(Path(str(data.get("root"))), str(data.get("images")), str(data.get("masks")))
    except (DataError, OSError):
        return ()


def class_words(root: Path, images: str, masks: str) -> tuple[str, ...]:
    """Return the overrides for masks in a folder of each class, with a class map if white is 255; else none.

    The folders are of classes where there are several, none lies among the images too, no mask lies
    outside them, and the first mask in each is called as an image is. Raises `DataError` as `find_splits` does.
    """
    places = find_splits(root, images, masks)
    place = next(iter(places.values()), Place(root / images, root / masks))
    names = folders_in(place.masks)
    below = {name: image_names(place.masks / name)[:1] for name in names}
    outside = any(path.suffix.lower() in SUFFIXES for path in place.masks.iterdir())
    if len(names) < 2 or outside or set(names) & set(folders_in(place.images)):
        return ()
    if not all(files and _has_image(place.images, files[0]) for files in below.values()):
        return ()
    listed = ",".join(name if name.replace("_", "a").isalnum() else quote(name) for name in names)
    words = (f"data.classes=[{listed}]", "data.mode=multilabel")
    return (*words, WHITE) if _white([place.masks / name / below[name][0] for name in names]) else words


def _white(masks: Sequence[Path]) -> bool:
    """Tell whether masks hold 255, and 0 alone beside it."""
    try:
        held = {value for mask in masks for value in look_into_mask(mask).counts}
    except DataError:  # what is wrong with a mask is said when the data is checked
        return False
    return 255 in held and held <= {0, 255}


def _has_image(images: Path, mask: str) -> bool:
    stem = mask[: mask.rindex(".")]
    return any((images / f"{stem}{suffix}").is_file() for each in SUFFIXES for suffix in (each, each.upper()))
