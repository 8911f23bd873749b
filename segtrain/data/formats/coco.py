"""Images with annotations in COCO's JSON format: polygons and run lengths."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from segtrain.data.files.drawings import (
    IGNORED,
    Drawing,
    OnBad,
    Overlap,
    Region,
    drawing_of,
    refuse_or_tell,
    stamp_of_file,
)
from segtrain.data.files.json_files import read_json, text_of
from segtrain.data.files.labels import listing
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.named_images import NamedImages
from segtrain.data.files.places import files_of_splits, read_places
from segtrain.data.files.rasterize import Encoded, Run, Shape, Size, corners_of
from segtrain.data.files.splits import NAMES, PLACE
from segtrain.data.files.walk import without_suffix
from segtrain.data.formats.named import DrawnSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

log = logging.getLogger(__name__)

BY_SPLIT = ("annotations/instances_{split}*.json", "annotations/{split}*.json", "{split}/_annotations.coco*.json")
"""Where the files of splits are looked for: as COCO has them, as others do, as Roboflow writes them."""
WHOLE = ("annotations/instances_default.json", "_annotations.coco*.json", "annotations/*.json", "*.json")
"""Where a single file is looked for: as CVAT, Roboflow, others and Label Studio write it."""
Crowd: TypeAlias = Literal["ignore", "object"]
_ENDS = 2**18  # bytes at both ends of a file, by which it is recognised
PARTS = ("images", "annotations", "categories")
FILE = "COCO's images, annotations and categories"


class Coco(DrawnSource):
    """A dataset of images with annotations in COCO's JSON format.

    ``annotations`` is the file in ``root``, and ``images`` the folder of its images; ``{split}`` in
    them stands for the name of the split. By default both are found where tools write them. Pixels of
    a ``crowd`` do not count, unless it is an object as others: CVAT marks all brushed masks as crowds.
    Of several regions a pixel belongs to the smallest unless ``overlap`` says otherwise: COCO's have
    no order, and what is small lies on what is large.
    Further options are those of `DrawnSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        annotations: str | None = None,
        images: str | None = None,
        crowd: Crowd = "ignore",
        overlap: Overlap = "smallest",
        **options: Any,
    ) -> None:
        base = Path(root)
        places = find_annotations(base, annotations)
        categories: dict[int, str] = {}
        read = partial(_read, base, images, categories, crowd, options.get("on_bad", "error"))
        if isinstance(places, Path):
            samples = read(places, None)
        else:
            folds = options.get("folds") is not None
            samples = read_places(places, read, split, folds=folds, where=base)
        legend = Legend.of_drawings([categories[number] for number in sorted(categories)], [IGNORED])
        super().__init__(samples, legend, split=split, overlap=overlap, **options)

    looks_for = "annotations/instances_*.json or _annotations.coco.json"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for a file of COCO's parts."""
        places = find_annotations(root, None)
        path = places if isinstance(places, Path) else next(iter(places.values()))
        return Recognised(f"{path.relative_to(root).as_posix()} with COCO's parts") if is_coco(path) else None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits that have an annotation file of their own; None where one file has all."""
        places = find_annotations(Path(options["root"]), options.get("annotations"))
        return None if isinstance(places, Path) else places.keys()


def find_annotations(root: Path, annotations: str | None) -> Path | dict[Split, Path]:
    """Find the annotation file of each split, or the one of all; raises `DataError` without any."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds the annotations")
    if annotations is not None and PLACE not in annotations:
        return root / annotations
    for form in BY_SPLIT if annotations is None else (annotations,):
        if found := files_of_splits(root, form):
            return {split: _only(files, root, form) for split, files in found.items()}
    for form in WHOLE if annotations is None else ():
        if files := sorted(root.glob(form)):
            return _only(files, root, form)
    looked = (*BY_SPLIT, *WHOLE) if annotations is None else (annotations,)
    raise DataError(
        f"{root}: no annotations there (looked for {', '.join(looked)}); set data.annotations=<the JSON file>"
    )


def is_coco(path: Path) -> bool:
    """Tell whether a JSON file is COCO's, by its beginning and its end: it may have a gigabyte."""
    with path.open("rb") as file:
        start = file.read(_ENDS)
        file.seek(-min(_ENDS, path.stat().st_size), os.SEEK_END)
        ends = start + file.read()
    return start.lstrip().startswith(b"{") and all(f'"{part}"'.encode() in ends for part in PARTS[:2])


def _only(files: Sequence[Path], root: Path, form: str) -> Path:
    if len(files) > 1:
        name = files[0].relative_to(root).as_posix()
        raise DataError(
            f"{files[0]}: {files[1]} fits {form} too, expected one file; choose one with "
            f"data.annotations, such as 'data.annotations=\"{_with_place(name, form)}\"'"
        )
    return files[0]


def _with_place(name: str, form: str) -> str:
    """Write ``{split}`` for the split's name in a path."""
    names = [name for names in NAMES.values() for name in names] if PLACE in form else []
    return next((name.replace(split, PLACE, 1) for split in names if split in name), name)


class _Annotation(NamedTuple):
    """An annotation as it is read; ``shape`` is what is wrong with it if that is a text."""

    id: Any
    image: Any
    category: Any
    is_crowd: bool
    shape: Shape | str


def _compact(node: dict[str, Any]) -> Any:
    """Replace an annotation by arrays as soon as it is read: lists of numbers would take ten times the memory."""
    if "image_id" not in node or "category_id" not in node:
        return node
    shape = _shape(node.get("segmentation"))
    return _Annotation(node.get("id"), node["image_id"], node["category_id"], bool(node.get("iscrowd")), shape)


def _shape(segmentation: Any) -> Shape | str:
    if not segmentation:
        return "has no segmentation, only a box"
    if isinstance(segmentation, list):
        try:
            return tuple(corners_of(numbers) for numbers in segmentation)
        except ValueError as error:
            return str(error)
    try:
        height, width = map(int, segmentation["size"])
        counts = segmentation["counts"]
    except (TypeError, KeyError, ValueError):
        return f"segmentation is {text_of(segmentation)}, expected polygons, or run lengths with counts and size"
    if isinstance(counts, str):
        return Encoded((height, width), counts.encode())
    try:
        return Run((height, width), np.array(counts, dtype=np.uint32), by_columns=True)
    except (TypeError, ValueError, OverflowError):
        return "run lengths that are no integers"


def _read(
    root: Path,
    images: str | None,
    categories: dict[int, str],
    crowd: Crowd,
    on_bad: OnBad,
    path: Path,
    split: Split | None,
) -> Listing:
    """Read the samples in an annotation file; adds to ``categories``, the names by number."""
    data = read_json(path, FILE, hook=_compact)
    _refuse_others(path, data)
    own = {each["id"]: str(each["name"]) for each in _without_parents(data)}
    if categories and own != categories:  # by number: values would mean other names in each file
        number = min(key for key in {**own, **categories} if own.get(key) != categories.get(key))
        raise DataError(
            f"{path}: category {number} is {own.get(number, 'missing')}, in the file of another split "
            f"{categories.get(number, 'missing')}, expected the same categories in all; correct them"
        )
    categories.update(own)
    folder = _image_folder(root, images, path, split, data["images"])
    value_of = {number: value for value, number in enumerate(sorted(categories), start=1)}
    if crowd == "ignore":
        _tell_of_crowds(path, data["annotations"], own)
    regions, problems, strays = _by_image(data, value_of, crowd)
    refuse_or_tell(strays, path, on_bad)
    stamp = stamp_of_file(path)
    ids, files, drawings = [], [], []
    named = NamedImages([folder])
    for each in data["images"]:
        number, name = each["id"], str(each["file_name"])
        ids.append(without_suffix(PurePosixPath(name.replace("\\", "/"))))
        files.append(named.find(name) or str(folder / name))
        drawing: Drawing = drawing_of(
            path, regions.get(number, ()), problems.get(number, ()), f"{stamp}/{number}", _size(each)
        )
        drawings.append(drawing)
    if files and not len(named):
        raise DataError(
            f"{folder}: holds no image, expected those that {path.name} names; set data.images to their folder"
        )
    if others := named.unnamed(files):
        log.info("%s: %d images in %s are not listed, so not used", path, others, folder)
    samples = Listing(ids, files, (drawings,), to_divide=f"write an annotation file for {PLACE}", listed_in=str(path))
    samples.require_distinct_ids(str(path), "rename them")
    return samples


def _by_image(
    data: Mapping[str, Any], value_of: Mapping[int, int], crowd: Crowd
) -> tuple[dict[Any, list[Region]], dict[Any, list[str]], list[str]]:
    """Sort annotations by image: regions, what is wrong with others, and those of images that are not listed."""
    regions: dict[Any, list[Region]] = {each["id"]: [] for each in data["images"]}
    problems: dict[Any, list[str]] = {}
    strays = []
    for each in data["annotations"]:
        name, value = f"annotation {each.id}", value_of.get(each.category)
        if each.image not in regions:
            strays.append(f"{name} is of image {text_of(each.image)}, which is not listed")
        elif isinstance(each.shape, str):
            problems.setdefault(each.image, []).append(f"{name}: {each.shape}")
        elif value is None:
            problem = f"{name}: category {text_of(each.category)} is not in its categories"
            problems.setdefault(each.image, []).append(problem)
        else:
            is_crowd = each.is_crowd and crowd == "ignore"
            regions[each.image].append(Region(IGNORED if is_crowd else value, each.shape, name, beneath=is_crowd))
    return regions, problems, strays


def _tell_of_crowds(path: Path, annotations: Sequence[_Annotation], names: Mapping[int, str]) -> None:
    """Log how many crowds there are, and warn of categories that have nothing else: these are no crowds."""
    crowds = Counter(each.category for each in annotations if each.is_crowd)
    objects = {each.category for each in annotations if not each.is_crowd}
    alone = [names[number] for number in crowds if number not in objects and number in names]
    if alone:
        log.warning(
            "%s: all annotations of %s are marked as crowds, so none counts; if they are objects, as in masks that "
            "CVAT writes, set data.crowd=object",
            path,
            listing(alone),
        )
    elif crowds:
        log.info("%s: %d crowds, whose pixels do not count", path, crowds.total())


def _without_parents(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the categories, without such as Roboflow writes for a group of others alone."""
    categories: list[dict[str, Any]] = data["categories"]
    used = {each.category for each in data["annotations"]}
    parents = {each.get("supercategory") for each in categories if each.get("supercategory") != each["name"]}
    left_out = [each for each in categories if each["name"] in parents and each["id"] not in used]
    if left_out:
        log.info("left out, as no annotation has it: the category %s", listing(each["name"] for each in left_out))
    return [each for each in categories if each not in left_out]


def _refuse_others(path: Path, data: Any) -> None:
    """Raise `DataError` for JSON that is not COCO's annotation of regions."""
    parts = [data.get(key) for key in PARTS] if isinstance(data, dict) else [None]
    if isinstance(data, dict) and isinstance(parts[1], list):
        if any(isinstance(each, dict) and "segments_info" in each for each in parts[1][:1]):
            raise DataError(f"{path}: is a panoptic file, whose masks are PNG, expected {FILE}; use instances_*.json")
        if any(isinstance(each, dict) and "caption" in each for each in parts[1][:1]):
            raise DataError(f"{path}: holds captions, expected {FILE}; use instances_*.json")
    if not all(isinstance(part, list) for part in parts):
        found = listing(data) if isinstance(data, dict) else "no object"
        raise DataError(f"{path}: holds {found}, expected {FILE}; set data.annotations to another file")
    images, annotations, categories = (data[key] for key in PARTS)
    complete = (
        all(isinstance(each, dict) and {"id", "file_name"} <= each.keys() for each in images)
        and all(isinstance(each, _Annotation) for each in annotations)
        and all(isinstance(each, dict) and {"id", "name"} <= each.keys() for each in categories)
    )
    if not complete:
        raise DataError(
            f"{path}: expected an id and a file_name for each image, image_id and category_id for each annotation, an "
            "id and a name for each category; export it again"
        )
    if annotations and all(each.shape == "has no segmentation, only a box" for each in annotations):
        raise DataError(f"{path}: holds boxes alone, expected polygons or masks; export it for segmentation")


def _image_folder(
    root: Path, images: str | None, path: Path, split: Split | None, entries: Sequence[Mapping[str, Any]]
) -> Path:
    """Find the folder that holds the images of an annotation file."""
    part = path.stem.removeprefix("instances_")  # train2017
    if images is not None:
        named = [root / images.replace(PLACE, name) for name in NAMES.get(split or "all", ("all",))]
        return next((folder for folder in named if folder.is_dir()), named[-1])
    first = str(entries[0]["file_name"]) if entries else ""
    around = (root / part, root / "images" / part, path.parent, root / "images", root)
    folders = [folder for folder in around if folder.is_dir()]
    exact = [folder for folder in folders if (folder / first).is_file()]
    return next(iter(exact or folders), root)


def _size(image: Mapping[str, Any]) -> Size | None:
    """Return the ``(H, W)`` of an image as its entry says it; None if it does not."""
    height, width = image.get("height"), image.get("width")
    return (int(height), int(width)) if height and width else None
