"""Cityscapes: leftImg8bit and gtFine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrain.data.files.layouts import find_layout
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing, Pair
from segtrain.data.files.pairs import find_files
from segtrain.data.formats.named import NamedSource
from segtrain.data.palette import Colour
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

IMAGES = "leftImg8bit"
SPLITS: tuple[Split, ...] = ("train", "val")
COLOURS: Mapping[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The 19 classes that are scored, in the order of their training ids, and their official colours."""
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Their values in ``labelIds`` files; all others do not count."""
KINDS: Mapping[str, Legend] = {
    "labelIds": Legend(
        dict(zip(LABEL_IDS, COLOURS, strict=True)),
        ignored=[*(value for value in range(34) if value not in LABEL_IDS), 255],
        colours=COLOURS,
    ),
    "labelTrainIds": Legend(dict(enumerate(COLOURS)), ignored=[255], colours=COLOURS),
}
"""The kinds of mask files, the first found is taken, and what their values mean."""


class Cityscapes(NamedSource):
    """Street scenes of 50 cities (Cordts et al., CVPR 2016), 19 classes, or those of gtCoarse.

    ``root`` is the folder that holds ``leftImg8bit`` and ``masks``, ``gtFine`` or ``gtCoarse``. Masks
    are the ``labelIds`` files, or ``labelTrainIds`` where these are missing. The labels of the official
    test images are not public, so ``test`` is what ``test_fraction`` holds out. Further options are
    those of `NamedSource`; ``group`` ``^[^/]+`` keeps cities together. Raises `DataError` where
    folders or masks are missing.
    """

    def __init__(self, *, split: Split, root: str, masks: str = "gtFine", **options: Any) -> None:
        base = find_layout(Path(root), [IMAGES, masks])
        kind = _kind_in(base / masks)
        super().__init__(_samples(base, masks, kind), KINDS[kind], split=split, **options)

    looks_for = "leftImg8bit/ and gtFine/"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for the folders of images and masks."""
        masks = next((name for name in ("gtFine", "gtCoarse") if (root / name).is_dir()), None)
        if masks is None or not (root / IMAGES).is_dir():
            return None
        return Recognised(f"the folders {IMAGES}/ and {masks}/", () if masks == "gtFine" else (f"data.masks={masks}",))

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> list[Split]:
        """Return the splits that have a folder and public labels."""
        return _splits(Path(options["root"]))


def _splits(base: Path) -> list[Split]:
    return [split for split in SPLITS if (base / IMAGES / split).is_dir()]


def _kind_in(folder: Path) -> str:
    for kind in KINDS:
        if any(next(folder.glob(f"{split}/*/*_{kind}.png"), None) for split in SPLITS):
            return kind
    raise DataError(
        f"{folder}: no *_labelIds.png or *_labelTrainIds.png in train/<city>/ there, expected a mask for each image; "
        "unpack the labels that belong to leftImg8bit there"
    )


def _samples(base: Path, masks: str, kind: str) -> Listing:
    """Pair the images of all cities with their masks, by city and name."""
    pairs: dict[str, Pair] = {}
    splits: list[Split] = []
    for split in _splits(base):
        images = find_files(base / IMAGES / split, f"*_{IMAGES}")
        labels = find_files(base / masks / split, f"*_{masks}_{kind}")
        lonely = sorted(images.keys() ^ labels.keys())
        if lonely:
            there, missing = (IMAGES, masks) if lonely[0] in images else (masks, IMAGES)
            raise DataError(
                f"{base / there / split / lonely[0]}: nothing of that name in {missing}/{split}, expected an image "
                f"and a {kind} mask of each; {len(lonely)} are alone: complete or remove them"
            )
        pairs |= {name: Pair(images[name], (labels[name],)) for name in sorted(images)}
        splits += [split] * len(images)
    if not pairs:
        raise DataError(
            f"{base / IMAGES}: no images in train/ and val/ there, expected <city>/*_{IMAGES}.png; add them"
        )
    remedy = "score data.split=val: the labels of the test images are not public"
    return Listing.of(pairs, splits=splits, to_divide=remedy)
