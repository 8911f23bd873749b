"""What a few masks of a folder hold, for a user who has not named the classes yet."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from segtrain.data.files import folders_in
from segtrain.data.folder import Folder
from segtrain.data.images import ColourMaskError
from segtrain.data.inspection import look_into_mask
from segtrain.data.labels import MANY, listing
from segtrain.data.pairs import find_files
from segtrain.data.splits import find_splits
from segtrain.errors import DataError

_FEW = 5  # masks that are read
_MISSING = "data.classes: missing; "


def with_values(problems: list[str], data: Mapping[str, Any]) -> list[str]:
    """Say more where the classes of a folder are missing: an example, and what its masks hold where that is quick."""
    if data.get("_target_") != f"{Folder.__module__}.{Folder.__name__}":
        return problems
    example = "give the names of the mask values 0, 1, ..., such as 'data.classes=[background,cat]'"
    found = _found(data) if any(problem.startswith(_MISSING) for problem in problems) else ""
    return [f"{_MISSING}{example}{found}" if problem.startswith(_MISSING) else problem for problem in problems]


def _found(data: Mapping[str, Any]) -> str:
    root, images, masks = (str(data.get(key)) for key in ("root", "images", "masks"))
    try:
        places = [place.masks for place in find_splits(Path(root), images, masks).values()] or [Path(root) / masks]
        if data.get("mode") == "multilabel":
            return f"; {places[0]} has the folders {listing(folders_in(places[0])) or 'of none'}"
        few = list(islice(_files(places), _FEW))
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
