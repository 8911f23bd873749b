"""ADE20K, as the scene parsing challenge of 2016 published it."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from segtrain.data.files.layouts import find_layout
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing, Pair
from segtrain.data.files.lists import read_lines
from segtrain.data.files.pairs import find_pairs
from segtrain.data.formats.named import NamedSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

FOLDER = "ADEChallengeData2016"
NAMES = "objectInfo150.txt"
SPLITS: Mapping[Split, str] = {"train": "training", "val": "validation"}


class ADE20K(NamedSource):
    """Scenes of 150 classes (Zhou et al.: "Scene Parsing through ADE20K Dataset", CVPR 2017).

    ``root`` is ``ADEChallengeData2016``, or the folder that holds it. Values are 1 to 150, 0 is
    unlabelled and does not count. Names are the first of those in ``objectInfo150.txt``. The labels of
    the test images are not public. Further options are those of `NamedSource`. Raises `DataError`
    where folders or masks are missing.
    """

    def __init__(self, *, split: Split, root: str, **options: Any) -> None:
        base = find_layout(Path(root), ["images", "annotations"], inside=[FOLDER])
        names = _class_names(base / NAMES)
        super().__init__(_samples(base), Legend(dict(enumerate(names, 1)), ignored=[0]), split=split, **options)

    looks_for = FOLDER

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for the folders, and for a table that goes with them: their names alone say too little."""
        base = find_layout(root, ["images/training", "annotations/training"], inside=[FOLDER])
        marks = [name for name in (NAMES, "sceneCategories.txt") if (base / name).is_file()]
        return Recognised(f"{marks[0]} beside images/ and annotations/") if marks else None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> list[Split]:
        """Return the splits that have a folder."""
        return _splits(find_layout(Path(options["root"]), ["images", "annotations"], inside=[FOLDER]))


def _splits(base: Path) -> list[Split]:
    return [split for split, name in SPLITS.items() if (base / "images" / name).is_dir()]


def _samples(base: Path) -> Listing:
    pairs: dict[str, Pair] = {}
    splits: list[Split] = []
    for split in _splits(base):
        name = SPLITS[split]
        if not (base / "annotations" / name).is_dir():
            raise DataError(f"{base / 'annotations'}: no {name}/ there, expected the masks of images/{name}/; add it")
        found = find_pairs(base / "images" / name, base / "annotations" / name, classes=())
        pairs |= {f"{name}/{image}": pair for image, pair in found.items()}
        splits += [split] * len(found)
    if not pairs:
        raise DataError(f"{base / 'images'}: no training/ and validation/ there, expected one at least; add them")
    remedy = "score data.split=val: the labels of the test images are not public"
    return Listing.of(pairs, splits=splits, to_divide=remedy)


def _class_names(path: Path) -> list[str]:
    """Return the names of the values from 1 on: the first in each row of the table, or the built-in ones."""
    if not path.is_file():
        return (files("segtrain.data.formats") / "ade20k.txt").read_text(encoding="utf-8").split("\n")[:-1]
    names = [line.split("\t")[-1].split(",")[0].strip() for line in read_lines(path)[1:]]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise DataError(f"{path}: {doubles[0]} is the name of two classes, expected distinct names; rename one")
    return names
