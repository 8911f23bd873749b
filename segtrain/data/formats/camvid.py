"""CamVid, in the layout of SegNet's tutorial."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.lists import found_below, ids_below, read_pairs
from segtrain.data.formats.named import NamedSource
from segtrain.data.palette import Colour
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

SPLITS: tuple[Split, ...] = ("train", "val", "test")
COLOURS: Mapping[str, Colour] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "signsymbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The classes in the order of mask values, and the colours in which the literature draws them."""
UNLABELLED = 11


class CamVid(NamedSource):
    """Street scenes from a car (Brostow, Fauqueur, Cipolla: "Semantic object classes in video", 2009), 11 classes.

    ``root`` is the folder that holds ``train.txt``, ``val.txt`` and ``test.txt``, whose lines are
    ``image mask``. The paths are relative to it, or absolute on another machine, as in the original
    lists. Unlabelled pixels, value 11, do not count. Further options are those of `NamedSource`.
    Raises `DataError` where lists are missing.
    """

    def __init__(self, *, split: Split, root: str, **options: Any) -> None:
        samples = _samples(Path(root))
        legend = Legend(dict(enumerate(COLOURS)), ignored=[UNLABELLED], colours=COLOURS)
        super().__init__(samples, legend, split=split, **options)

    looks_for = "train.txt of images and masks of CamVid"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for CamVid's name in the first line of a list, or for its folders of masks."""
        lists = _lists(root)
        if "train" not in lists:
            return None
        with lists["train"].open(encoding="utf-8-sig") as file:
            first = file.readline()
        is_camvid = "camvid" in first.lower() or (root / "trainannot").is_dir()
        return Recognised("train.txt of images and masks, as CamVid has it") if is_camvid and first else None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split]:
        """Return the splits that have a list."""
        return _lists(Path(options["root"]))


def _lists(root: Path) -> dict[Split, Path]:
    places = {split: root / f"{split}.txt" for split in SPLITS}
    return {split: path for split, path in places.items() if path.is_file()}


def _samples(root: Path) -> Listing:
    lists = _lists(root)
    if "train" not in lists and "test" not in lists:
        raise DataError(
            f"{root}: no train.txt there, expected lists of images and masks, such as those of SegNet's tutorial; set "
            "data.root to their folder, or use data=folder for folders without lists"
        )
    images: list[str] = []
    masks: list[str] = []
    splits: list[Split | None] = []
    for split, path in lists.items():
        pairs = read_pairs(path)
        images += found_below(root, [image for image, _ in pairs], path)
        masks += found_below(root, [mask for _, mask in pairs], path)
        splits += [split] * len(pairs)
    remedy = "list its samples in {split}.txt"
    samples = Listing(
        ids_below(root, images), images, (masks,), splits, to_divide=remedy, listed_in=f"the lists in {root}"
    )
    samples.require_distinct_ids(str(root), "take it out of one of the lists")
    return samples
