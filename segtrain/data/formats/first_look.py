"""The values in a few masks of a folder, to show a user who has not named the classes yet."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from segtrain.data.files.images import ColourMaskError
from segtrain.data.files.inspection import look_into_mask
from segtrain.data.files.labels import MANY, listing
from segtrain.data.files.pairs import find_files
from segtrain.data.files.splits import find_splits
from segtrain.data.files.walk import folders_in
from segtrain.errors import DataError

FEW = 5
"""Masks that are read."""


def name_classes(data: Mapping[str, Any]) -> str:
    """Return the remedy for missing ``data.classes``: an example, and the values in a few masks."""
    return f"give the names of the mask values 0, 1, ..., such as 'data.classes=[background,cat]'{_found(data)}"


def _found(data: Mapping[str, Any]) -> str:
    """Describe the values in the first few masks, or the class folders; empty where they cannot be read."""
    root, images, masks = (str(data.get(key)) for key in ("root", "images", "masks"))
    try:
        places = [place.masks for place in find_splits(Path(root), images, masks).values()] or [Path(root) / masks]
        if data.get("mode") == "multilabel":
            return f"; {places[0]} has the folders {listing(folders_in(places[0])) or 'of none'}"
        return values_in(list(islice(_files(places), FEW)))
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
    return f"; the first {len(few)} masks hold {shown}"


def _files(places: list[Path]) -> Iterator[Path]:
    for place in places:
        yield from find_files(place).values()
