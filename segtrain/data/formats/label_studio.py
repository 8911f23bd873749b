"""Images with Label Studio's export as JSON."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np

from segtrain.data.files.brush import unpack_brush
from segtrain.data.files.drawings import IGNORED, Drawing, Found, Region, stamp_of_file
from segtrain.data.files.json_files import read_json, text_of
from segtrain.data.files.labels import listing
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.named_images import NamedImages
from segtrain.data.files.rasterize import Box, Shape, Size, corners_of, ellipse, rectangle, turned
from segtrain.data.files.walk import SUFFIXES, without_suffix
from segtrain.data.formats.named import DrawnSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError
from segtrain.terminal.console import ONCE

log = logging.getLogger(__name__)

EXPORT = "Label Studio's export as JSON, a list of tasks with data and annotations"
WITHOUT_AREA = ("keypoint", "vector")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


class _Task(NamedTuple):
    """A task: its number, the image's name as it is stored, and the results of one annotation."""

    id: Any
    image: str
    results: Sequence[Mapping[str, Any]]


class LabelStudio(DrawnSource):
    """A dataset of images with Label Studio's export as JSON.

    ``annotations`` is the file in ``root``, by default the only one there; the images, which the export
    leaves out, are found by name anywhere in ``root``. Of several annotations of an image, that marked as
    ground truth counts, or else the first that was not cancelled; an image without any is not used.
    Classes are all labels, sorted. Key points are left out. Further options are those of `DrawnSource`.
    Raises `ConfigError` and `DataError`.
    """

    def __init__(self, *, split: Split, root: str, annotations: str | None = None, **options: Any) -> None:
        base = Path(root)
        path = find_export(base, annotations)
        tasks = _tasks(path)
        names = _labels(path, tasks)
        value_of = {name: value for value, name in enumerate(names, start=1)}
        stamp = stamp_of_file(path)
        named = NamedImages([base])
        images = [_image(named, base, task.image) for task in tasks]
        if not len(named):
            raise DataError(f"{base}: holds no image, expected those that {path.name} names; copy them there")
        drawings = [
            Drawing(path, partial(_find, task, value_of), f"{stamp}/{number}", _size(task.results))
            for number, task in enumerate(tasks)
        ]
        ids = [without_suffix(Path(image).relative_to(base)) for image in images]
        samples = Listing(ids, images, (drawings,), listed_in=path.name)
        samples.require_distinct_ids(str(path), "take one of the tasks out")
        super().__init__(samples, Legend.of_drawings(names, [IGNORED]), split=split, **options)

    looks_for = "a JSON file of tasks with annotations, of Label Studio"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for a list of tasks at the beginning of the JSON file."""
        if next(root.glob("*.json"), None) is None:
            return None  # `find_export` would look through all that lies below
        path = find_export(root, None)
        with path.open("rb") as file:
            start = file.read(4096).lstrip()
        is_export = start.startswith(b"[") and b'"annotations"' in start
        return Recognised(f"{path.name} with tasks of Label Studio") if is_export else None


def find_export(root: Path, annotations: str | None) -> Path:
    """Find the JSON file in a folder; raises `DataError` where there is none, or more than one."""
    if annotations is not None:
        return root / annotations
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds Label Studio's JSON")
    found = sorted(root.glob("*.json"))
    if not found and any(root.rglob("task-*-annotation-*.png")):
        raise DataError(
            f"{root}: holds masks of Label Studio as PNG, which do not say of which image they are, expected {EXPORT}; "
            "export it so"
        )
    if not found:
        raise DataError(f"{root}: no JSON file there, expected {EXPORT}; set data.root to the folder that holds it")
    if len(found) > 1:
        raise DataError(f"{found[0]}: {found[1].name} lies beside it; choose one with data.annotations={found[0].name}")
    return found[0]


def _compact(node: dict[str, Any]) -> dict[str, Any]:
    """Turn run lengths into bytes as soon as they are read: lists would take eight times the memory."""
    if isinstance(node.get("rle"), list):
        try:
            node["rle"] = bytes(node["rle"])
        except (TypeError, ValueError):
            node["rle"] = b""  # too short: said when it is drawn
    return node


def _tasks(path: Path) -> list[_Task]:
    """Read the tasks that have an annotation; says how many have none or several."""
    data = read_json(path, EXPORT, hook=_compact)
    if not isinstance(data, list) or not all(isinstance(task, dict) and "data" in task for task in data):
        raise DataError(f"{path}: is something else, expected {EXPORT}, not JSON-MIN; export it so")
    tasks: list[_Task] = []
    several = 0
    for task in data:
        given = [one for one in task.get("annotations") or task.get("completions") or () if isinstance(one, dict)]
        done = [one for one in given if not one.get("was_cancelled") and not one.get("skipped")]
        several += len(done) > 1
        if done:
            chosen = next((one for one in done if one.get("ground_truth")), done[0])
            results = [result for result in chosen.get("result") or () if isinstance(result, dict)]
            tasks.append(_Task(task.get("id"), _image_name(path, task), results))
    if several:
        log.warning(
            "%s: %d images have several annotations; the ground truth counts, or else the first",
            path,
            several,
            extra=ONCE,
        )
    if len(tasks) < len(data):
        log.info(
            "%s: %d of %d images are not annotated, so they are not used",
            path,
            len(data) - len(tasks),
            len(data),
            extra=ONCE,
        )
    if not tasks:
        raise DataError(f"{path}: no task has an annotation that was not cancelled; annotate some")
    return tasks


def _image_name(path: Path, task: Mapping[str, Any]) -> str:
    """Return the path of a task's image in Label Studio, of whatever field it stands in."""
    fields = task["data"] if isinstance(task["data"], dict) else {}
    names = [_place(value) for _, value in sorted(fields.items(), key=lambda one: one[0] != "image")]
    found = next((name for name in names if name.lower().endswith(SUFFIXES)), None)
    if found is None:
        raise DataError(f"{path}: task {task.get('id')} names no image, but {text_of(task['data'])}; take it out")
    return found


def _place(value: Any) -> str:
    """Return the path in an address: of ``/data/local-files/?d=photos/a.jpg`` what follows ``d=``."""
    if not isinstance(value, str):
        return ""
    address = urlsplit(value)
    return (parse_qs(address.query).get("d") or [address.path])[0]


def _image(named: NamedImages, root: Path, name: str) -> str:
    """Find an image by its name in Label Studio, or by the one that it had before it was uploaded."""
    place = PurePosixPath(name)
    before = str(place.with_name(_UPLOADED.sub("", place.name)))
    return named.find(name) or named.find(before) or str(root / "images" / place.name)


def _labels(path: Path, tasks: Sequence[_Task]) -> list[str]:
    """Return all labels of regions, sorted; says what is left out."""
    kinds = Counter(kind for task in tasks for one in task.results if (kind := _kind(one)) in WITHOUT_AREA)
    if kinds:
        left_out = listing(f"{count} {kind}" for kind, count in kinds.items())
        log.warning("%s: shapes without an area are left out: %s", path, left_out, extra=ONCE)
    found = {label for task in tasks for labels in _labels_by_region(task).values() for label in labels}
    if not found:
        raise DataError(f"{path}: no region has a label, expected brushes, polygons, rectangles or ellipses; draw some")
    return sorted(found)


def _kind(result: Mapping[str, Any]) -> str:
    """Return the kind of a result: brush, polygon, rectangle, ellipse, one without an area, or empty."""
    value, kind = result.get("value") or {}, str(result.get("type"))
    if "rle" in value:
        return "brush"
    kinds = ("polygon", "rectangle", "ellipse", *WITHOUT_AREA)
    return next((one for one in kinds if kind.startswith(one)), "")


def _labels_by_region(task: _Task) -> dict[Any, list[str]]:
    """Return the labels of each region that has an area, by its id: they may stand in a result of their own."""
    found: dict[Any, list[str]] = {}
    with_area = {one.get("id") for one in task.results if _kind(one) not in ("", *WITHOUT_AREA)}
    for result in task.results:
        value, number = result.get("value") or {}, result.get("id")
        named = [labels for key, labels in value.items() if key.endswith("labels") and isinstance(labels, list)]
        if number in with_area and named:
            found.setdefault(number, []).extend(str(label) for label in named[0] if label not in found.get(number, ()))
    return found


def _size(results: Sequence[Mapping[str, Any]]) -> Size | None:
    """Return the ``(H, W)`` that the tool saw."""
    sizes = ((one.get("original_height"), one.get("original_width")) for one in results)
    return next(((int(height), int(width)) for height, width in sizes if height and width), None)


def _find(task: _Task, value_of: Mapping[str, int], size: Size) -> Found:
    """Make the regions of a task."""
    regions: list[Region] = []
    problems: list[str] = []
    labels = _labels_by_region(task)
    for result in task.results:
        kind, number = _kind(result), result.get("id")
        if kind in ("", *WITHOUT_AREA):
            continue
        name = f"task {task.id}, {kind} {number}"
        try:
            shape = _shape(kind, result, size)
            if not labels.get(number):
                raise ValueError("has no label")
            regions += [Region(value_of[label], shape, f"{name} ({label})") for label in labels[number]]
        except KeyError as error:
            problems.append(f"{name}: lacks {error}")
        except (TypeError, ValueError) as error:
            problems.append(f"{name}: {error}")
    return Found(regions, problems)


def _shape(kind: str, result: Mapping[str, Any], size: Size) -> Shape:
    """Turn a result into a shape to draw; its numbers are hundredths of the image's sides."""
    value = result["value"]
    if result.get("image_rotation"):
        raise ValueError(f"the image was turned by {result['image_rotation']} degrees; turn it back in Label Studio")
    if kind == "brush":
        return Box(0, 0, unpack_brush(value["rle"], size))
    scale = np.array([size[1], size[0]]) / 100
    if kind == "polygon":
        return (corners_of(value["points"]) * scale,)
    x, y = np.array([value["x"], value["y"]], float) * scale
    degrees = float(value.get("rotation") or 0)
    if kind == "ellipse":
        radius_x, radius_y = np.array([value["radiusX"], value["radiusY"]], float) * scale
        return (ellipse(float(x), float(y), float(radius_x), float(radius_y), degrees=degrees),)
    width, height = np.array([value["width"], value["height"]], float) * scale
    # turned around the corner at x, y
    return (np.array([x, y]) + turned(rectangle(0, 0, float(width), float(height)), degrees),)
