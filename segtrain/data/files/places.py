"""Files of annotations per split, in the layouts that tools write, and the samples of all splits put together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from segtrain.data.files.listing import Listing
from segtrain.data.files.splits import NAMES, PLACE
from segtrain.data.sample import Split
from segtrain.errors import DataError

T = TypeVar("T")


def files_of_splits(root: Path, form: str) -> dict[Split, list[Path]]:
    """Find the files of each split by a pattern with ``{split}``, which stands for all names of the split.

    It is matched in any case, as in ``annotations/instances_{split}*.json``.
    """
    found: dict[Split, list[Path]] = {}
    for split, names in NAMES.items():
        spellings = [form.replace(PLACE, spelled) for name in names for spelled in (name, name.capitalize())]
        files = {path for spelling in spellings for path in root.glob(spelling)}
        # Training/ is matched by Train* as well
        mine = [path for path in sorted(files) if split_of(path, root, form) == split]
        if mine:
            found[split] = mine
    return found


def split_of(path: Path, root: Path, form: str) -> Split | None:
    """Return the split whose name stands in a path where ``form`` has ``{split}``."""
    before = form.split("/")
    place = next(number for number, part in enumerate(before) if PLACE in part)
    word = path.relative_to(root).parts[place].lower()[len(before[place].partition(PLACE)[0]) :]
    return next((split for split, names in NAMES.items() for name in names if word.startswith(name)), None)


def read_places(
    places: Mapping[Split, T], read: Callable[[T, Split], Listing], split: Split, *, folds: bool, where: Path
) -> Listing:
    """Read the samples that a split is taken from: its own place, or that of train, which shares some out.

    All are read for the split ``all``, and where they are divided into folds; ids are then such as
    ``train/a``, as splits may share file names.
    """
    if split == "all" or folds:
        return joined({name: read(place, name) for name, place in places.items()})
    needed: Split = split if split in places else "train"
    if needed not in places:
        raise DataError(
            f"{where}: nothing for {split} beside {' and '.join(sorted(places))}, expected a part for train"
        )
    found = read(places[needed], needed)
    return replace(found, splits=[needed] * len(found), given=frozenset(places))


def joined(parts: Mapping[Split, Listing]) -> Listing:
    """Put the samples of splits together."""
    of_each = list(parts.items())
    return Listing(
        [f"{split}/{name}" for split, part in of_each for name in part.ids],
        [image for _, part in of_each for image in part.images],
        tuple(_chained(columns) for columns in zip(*(part.masks for _, part in of_each), strict=True)),
        splits=[split for split, part in of_each for _ in part.ids],
        to_divide=next((part.to_divide for _, part in of_each), ""),
        listed_in=next((part.listed_in for _, part in of_each), None),
    )


def _chained(columns: Iterable[Iterable[T]]) -> list[T]:
    return [one for column in columns for one in column]
