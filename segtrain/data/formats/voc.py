"""Pascal VOC, and what annotation tools write in its layout with a ``labelmap.txt``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrain.data.files.layouts import find_layout
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.lists import find_name, read_lines
from segtrain.data.files.pairs import find_files
from segtrain.data.files.splits import NAMES
from segtrain.data.formats.named import NamedSource
from segtrain.data.palette import Colour
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

LISTS = "ImageSets/Segmentation"
INSIDE = ("VOC20*", "VOCdevkit/VOC20*")
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
IGNORED = 255
EDGE: Colour = (224, 224, 192)
"""The colour of pixels that do not count, around each object."""
LABEL_MAP = "labelmap.txt"


class VOC(NamedSource):
    """Pascal VOC (Everingham et al., IJCV 2010), 21 classes, and exports of CVAT as "Segmentation mask".

    ``root`` holds ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``, or is around
    that folder. A ``labelmap.txt`` there gives names and colours of the classes; without one they are
    those of VOC, and 255 does not count. The splits are lists of names in ``ImageSets/Segmentation``;
    ``train_list`` ``trainaug`` takes another, and None leaves a split to be held out. Other
    lists, such as CVAT's ``default.txt``, are divided. Further options are those of `NamedSource`.
    Raises `DataError` where folders or lists are missing.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        images: str = "JPEGImages",
        masks: str = "SegmentationClass",
        train_list: str | None = "train",
        val_list: str | None = "val",
        test_list: str | None = "test",
        **options: Any,
    ) -> None:
        base = find_layout(Path(root), [masks, LISTS], inside=INSIDE)
        if not (base / images).is_dir():
            raise DataError(
                f"{base}: no {images}/ there, expected the images; CVAT adds them to an export if 'Save images' is "
                "ticked, or set data.images=<folder of the images>"
            )
        lists = _lists(base / LISTS, {"train": train_list, "val": val_list, "test": test_list})
        super().__init__(_samples(base, images, masks, lists), _legend(base / LABEL_MAP), split=split, **options)

    looks_for = "SegmentationClass/ and ImageSets/Segmentation/"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for the folders of masks and lists."""
        base = find_layout(root, ["SegmentationClass", LISTS], inside=INSIDE)
        what = f"{LABEL_MAP} and " if (base / LABEL_MAP).is_file() else ""
        return Recognised(f"{what}the folders SegmentationClass/ and {LISTS}/")

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> list[Split]:
        """Return the splits that have a list."""
        base = find_layout(Path(options["root"]), [LISTS], inside=INSIDE)
        chosen: dict[Split, str | None] = {split: options.get(f"{split}_list", split) for split in NAMES}
        return [split for split in _lists(base / LISTS, chosen) if split is not None]


def _lists(folder: Path, chosen: Mapping[Split, str | None]) -> dict[Split | None, list[Path]]:
    """Return the lists of each split, under any name of the split; of no split where there are only others."""
    there = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    found: dict[Split | None, list[Path]] = {}
    for split, name in chosen.items():
        if name in there:
            found[split] = [there[name]]
        elif name == split:  # as by default: a tool may have other words for it
            others = [path for stem, path in there.items() if stem.lower() in NAMES[split]]
            found |= {split: others[:1]} if others else {}
        elif name is not None:
            names = ", ".join(there)
            raise DataError(f"{folder}: no {name}.txt there (found: {names}); correct data.{split}_list={name}")
    if not there:
        raise DataError(f"{folder}: no train.txt there, expected a list of the names of images; write one")
    return found or {None: list(there.values())}


def _samples(base: Path, images: str, masks: str, lists: Mapping[Split | None, list[Path]]) -> Listing:
    image_files, mask_files = find_files(base / images), find_files(base / masks)
    names: list[str] = []
    splits: list[Split | None] = []
    given: list[Split] = []
    for split, paths in lists.items():
        listed = [find_name(line, image_files) or line for path in paths for line in read_lines(path)]
        if split == "test" and not any(name in mask_files for name in listed):
            continue  # the official test images have no public masks
        names += listed
        splits += [split] * len(listed)
        given += [split] if split else []
    samples = Listing(
        names,
        [str(image_files.get(name, base / images / f"{name}.jpg")) for name in names],
        ([str(mask_files.get(name, base / masks / f"{name}.png")) for name in names],),
        splits if given else None,
        to_divide="write a list of the names of its images, ImageSets/Segmentation/{split}.txt",
        listed_in=f"{base / LISTS}",
    )
    remedy = "take it out of one list, or set data.val_list=null to hold validation images out of the training list"
    samples.require_distinct_ids(str(base / LISTS), remedy)
    return samples


def _legend(path: Path) -> Legend:
    """Return the meaning of the masks: colours by a label map, else the values of VOC."""
    if not path.is_file():
        return Legend(
            dict(enumerate(CLASSES)), ignored=[IGNORED], colours=dict(zip(CLASSES, voc_colours(), strict=True))
        )
    colours: dict[str, Colour] = {}
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")  # label:color_rgb:parts:actions
        numbers = rest.partition(":")[0].split(",")
        if len(numbers) != 3 or not all(number.strip().isdecimal() and int(number) < 2**8 for number in numbers):
            raise DataError(
                f"{path}: {line[:80]!r}, expected a name and a colour, such as 'cat:250,50,83::'; correct it"
            )
        red, green, blue = map(int, numbers)
        if (red, green, blue) in colours.values() or name in colours:
            raise DataError(
                f"{path}: {line[:80]!r} has the name or the colour of a line before it; correct one of them"
            )
        colours[name] = (red, green, blue)
    return Legend.of_colours(colours, ignored=[] if EDGE in colours.values() else [EDGE])


def voc_colours(count: int = len(CLASSES)) -> list[Colour]:
    """Return VOC's palette: the bits of the value, three at a time, are the highest of red, green and blue."""
    colours: list[Colour] = []
    for value in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (value >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((channels[0], channels[1], channels[2]))
    return colours
