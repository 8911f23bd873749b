"""Images with the JSON files of labelme, one for each image."""

import base64
import binascii
import io
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from segtrain.data.files.drawings import BACKGROUND, IGNORED, Drawing, Found, Region, stamp_of_file
from segtrain.data.files.json_files import read_json, text_of
from segtrain.data.files.labels import listing
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.lists import read_lines
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.named_images import NamedImages
from segtrain.data.files.rasterize import Box, Shape, Size, corners_of, ellipse, rectangle
from segtrain.data.files.splits import split_named
from segtrain.data.files.stamps import digest_of
from segtrain.data.files.walk import SUFFIXES, is_visible
from segtrain.data.formats.named import DrawnSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError
from segtrain.terminal.console import ONCE

log = logging.getLogger(__name__)

_FORMAT = 1  # part of the key of the cache: raise it when `_Facts` change, and old entries are not found
_FEW = 20  # files by which a folder is recognised
LABELS = "labels.txt"
IGNORE = "__ignore__"
SPECIAL = {IGNORE: IGNORED, "_background_": BACKGROUND}
"""Labels that labelme's own converters do not take for classes."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")


class _Facts(NamedTuple):
    """What a JSON file says of its image, and the labels and kinds of its shapes; ``problem``: it cannot be read."""

    image: str
    size: Size | None
    labels: Sequence[str]
    kinds: Sequence[str]
    problem: str = ""


class Labelme(DrawnSource):
    """A dataset of images with a JSON file of labelme for each.

    All JSON files below ``root`` are read; those in folders ``train``, ``val`` and ``test`` are these
    splits. ``labels`` is a file in ``root`` with the names of the classes, as labelme takes it, by
    default ``labels.txt`` if there is one, else the classes are all labels in the files, sorted. The
    label ``__ignore__`` is of pixels that do not count, ``_background_`` of background. An image
    without a JSON file is not used: nobody has said what is in it. Further options are those of
    `DrawnSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(self, *, split: Split, root: str, labels: str | None = None, **options: Any) -> None:
        base = Path(root)
        facts = _facts_of(json_files(base))
        names = _names(base, labels, facts.values())
        splits: list[Split | None] = [split_named(os.path.relpath(file, base)) for file in facts]
        value_of = {**{name: value for value, name in enumerate(names, start=1)}, **SPECIAL}
        named = NamedImages([base])
        images = [_image(named, file, one) for file, one in facts.items()]
        drawings = [_drawing(Path(file), value_of, one.size) for file, one in facts.items()]
        samples = Listing(
            [os.path.relpath(os.path.splitext(file)[0], base).replace(os.sep, "/") for file in facts],  # noqa: PTH122
            images,
            (drawings,),
            splits if any(splits) else None,
            to_divide="make folders train and {split} in data.root",
            listed_in="a JSON file",
        )
        if others := named.unnamed(images):
            log.info("%s: %d images have no JSON file, so they are not used", base, others, extra=ONCE)
        super().__init__(samples, Legend.of_drawings(names, [IGNORED]), split=split, **options)

    looks_for = "JSON files with shapes beside the images"
    walks = True

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for shapes at the beginning of the first few JSON files."""
        below = next(root.glob("*.json"), None) is None
        for file in json_files(root)[:_FEW]:
            with open(file, "rb") as opened:  # noqa: PTH123 - texts
                if b'"shapes"' in opened.read(4096):
                    return Recognised(f"{os.path.relpath(file, root)} with shapes of labelme", below=below)
        return None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits that have folders; None where there are none."""
        base = Path(options["root"])
        return {split for file in json_files(base) if (split := split_named(os.path.relpath(file, base)))} or None


def json_files(root: Path) -> list[str]:
    """List the JSON files below a folder, sorted; raises `DataError` where there is none."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds the JSON files")
    found: list[str] = []
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if is_visible(name)]
        found += [os.path.join(place, name) for name in files if is_visible(name) and name.lower().endswith(".json")]  # noqa: PTH118
    if not found:
        raise DataError(f"{root}: holds no JSON file, expected one of labelme for each image; correct data.root")
    return sorted(found)


def _facts_of(files: Sequence[str]) -> dict[str, _Facts]:
    """Read what is needed of all files, without those of something else, which have no shapes.

    It is remembered until one changes, as labelme stores whole images in them.
    """
    key = f"{_FORMAT}-{digest_of(files)}"
    found: list[list[Any]] | None = recall("labelme", key)
    if found is None:
        with ThreadPoolExecutor() as pool:
            found = [list(facts) if facts else [] for facts in pool.map(_look, map(Path, files))]
        remember("labelme", key, found)
    read = {file: facts for file, facts in zip(files, found, strict=True) if facts}
    if not read:
        raise DataError(
            f"{files[0]}: has no shapes, nor has any other JSON file there, expected those of labelme; set data.root"
        )
    if len(read) < len(files):
        log.info("not of labelme, so not used: %s", listing(file for file in files if file not in read), extra=ONCE)
    return {
        file: _Facts(image, size and (size[0], size[1]), labels, kinds, problem)
        for file, (image, size, labels, kinds, problem) in read.items()
    }


def _look(path: Path) -> _Facts | None:
    """Read a file for its facts; None where it is not of labelme."""
    try:
        data = read_json(path, "a JSON file of labelme")
    except DataError as error:
        return _Facts("", None, (), (), str(error))  # said again when its mask is drawn
    shapes = data.get("shapes") if isinstance(data, dict) else None
    if not isinstance(shapes, list):
        return None
    shapes = [shape for shape in shapes if isinstance(shape, dict)]
    height, width = data.get("imageHeight"), data.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    kinds = [kind_of(shape) for shape in shapes]
    labels = {str(shape.get("label")) for shape, kind in zip(shapes, kinds, strict=True) if kind not in WITHOUT_AREA}
    return _Facts(str(data.get("imagePath") or ""), size, sorted(labels), kinds)


def kind_of(shape: Mapping[str, Any]) -> str:
    """Return the type of a shape; files of early versions have polygons alone, and do not say so."""
    return str(shape.get("shape_type") or "polygon")


def _names(root: Path, labels: str | None, facts: Iterable[_Facts]) -> list[str]:
    """Return the names of the classes, in order; says which shapes are left out."""
    kinds = Counter(kind for one in facts for kind in one.kinds if kind in WITHOUT_AREA)
    if kinds:
        left_out = listing(f"{count} {kind}" for kind, count in kinds.items())
        log.warning("%s: shapes without an area are left out: %s", root, left_out, extra=ONCE)
    if labels is not None or (root / LABELS).is_file():
        return [name for name in read_lines(root / (labels or LABELS)) if name not in SPECIAL]
    found = {label for one in facts for label in one.labels} - SPECIAL.keys()
    if not found:
        raise DataError(f"{root}: no JSON file holds a shape with an area, expected polygons; draw some")
    return sorted(found)


def _image(named: NamedImages, file: str, facts: _Facts) -> str:
    """Find the image of a JSON file: by the path in it, or one of its own name beside it."""
    base = os.path.splitext(file)[0]  # noqa: PTH122 - texts
    path = os.path.normpath(os.path.join(os.path.dirname(file), facts.image.replace("\\", "/")))  # noqa: PTH118, PTH120
    found = named.find(path) if facts.image else None
    beside: Iterator[str] = (f"{base}{suffix}" for suffix in SUFFIXES if os.path.isfile(f"{base}{suffix}"))  # noqa: PTH113
    return found or next(beside, path if facts.image else f"{base}.jpg")


def _drawing(path: Path, value_of: Mapping[str, int], size: Size | None) -> Drawing:
    stamp = stamp_of_file(path, sorted(value_of.items()))
    return Drawing(path, partial(_find, path, stamp, value_of), stamp, size)


@lru_cache(maxsize=4)  # where classes overlap, the drawing of each asks for the same file
def _shapes(path: Path, stamp: str) -> list[Any]:
    del stamp
    shapes: list[Any] = read_json(path, "a JSON file of labelme")["shapes"]
    return shapes


def _find(path: Path, stamp: str, value_of: Mapping[str, int], size: Size) -> Found:  # noqa: ARG001
    """Read the shapes of an image."""
    regions: list[Region] = []
    problems: list[str] = []
    for number, each in enumerate(_shapes(path, stamp), 1):
        if not isinstance(each, dict):
            problems.append(f"shape {number}: {text_of(each)}, expected a label and points")
            continue
        label = str(each.get("label"))
        name = f"shape {number} ({label})"
        if kind_of(each) in WITHOUT_AREA:
            continue
        if label not in value_of:
            problems.append(f"{name}: the label is not in the list of labels")
            continue
        try:
            regions.append(Region(value_of[label], _shape(each), name))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return Found(regions, problems)


def _shape(each: Mapping[str, Any]) -> Shape:
    """Turn a shape of labelme into one to draw; raises ValueError for what cannot be drawn."""
    kind, points = kind_of(each), corners_of(each.get("points") or [])
    if kind == "polygon":
        return (points,)
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"a shape of type {kind}, expected polygon, rectangle, circle or mask")
    if len(points) == 4 and kind == "rectangle":
        return (points,)
    if len(points) != 2 or not np.isfinite(points).all():
        raise ValueError(f"a {kind} of {len(points)} points, expected two")
    (left, top), (right, bottom) = points.tolist()
    if kind == "rectangle":
        return (rectangle(left, top, right, bottom),)
    if kind == "circle":  # its center, and a point on it
        radius = float(np.hypot(right - left, bottom - top))
        return (ellipse(left, top, radius, radius),)
    return Box(int(top), int(left), _mask(each.get("mask")))


def _mask(text: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Decode the pixels of a mask, a PNG as text."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            return np.asarray(image.convert("L")) > 0
    except (TypeError, binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise ValueError("a mask that cannot be decoded, expected a PNG as base64") from None
