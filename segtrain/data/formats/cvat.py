"""Images with CVAT's XML, "CVAT for images 1.1"."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, ParseError, iterparse

import numpy as np

from segtrain.data.files.drawings import IGNORED, Drawing, Region, drawing_of, stamp_of_file
from segtrain.data.files.labels import listing
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.named_images import NamedImages
from segtrain.data.files.rasterize import Placed, Run, Shape, ellipse, rectangle, turned
from segtrain.data.files.splits import split_called, split_named
from segtrain.data.files.walk import without_suffix
from segtrain.data.formats.named import DrawnSource
from segtrain.data.palette import Colour
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError
from segtrain.terminal.console import ONCE

log = logging.getLogger(__name__)

EXPORT = 'an export as "CVAT for images 1.1"'
WITHOUT_AREA = ("polyline", "points", "skeleton", "cuboid", "tag")
WITH_AREA = ("polygon", "box", "ellipse", "mask")


@dataclass
class _Export:
    """What the XML files hold: labels with their colours, and columns of the images in them."""

    labels: dict[str, Colour | None] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    splits: list[Split | None] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Cvat(DrawnSource):
    """A dataset of images with CVAT's XML, exported as "CVAT for images 1.1" and unpacked.

    ``annotations`` is the XML file in ``root``, by default all of CVAT's there. Splits are the subsets of
    a project, files such as ``train.xml``, or folders of images such as ``train``. Polygons, boxes,
    ellipses and masks are drawn in their z-order; points and lines are left out. Further options are
    those of `DrawnSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(self, *, split: Split, root: str, annotations: str | None = None, **options: Any) -> None:
        base = Path(root)
        export = _Export()
        files = find_exports(base, annotations)
        for path in files:
            _read(path, export)
        if export.left_out:
            kinds = listing(f"{count} {kind}" for kind, count in export.left_out.items())
            log.warning("%s: shapes without an area are left out: %s", base, kinds, extra=ONCE)
        named = NamedImages([base])
        images = [named.find(name) or str(base / "images" / name) for name in export.names]
        if not len(named):
            raise DataError(f"{base}: holds no image, expected those that {files[0].name} names; export them too")
        samples = Listing(
            [without_suffix(PurePosixPath(name)) for name in export.names],
            images,
            (export.drawings,),
            export.splits if any(export.splits) else None,
            to_divide="give images a subset in CVAT",
            listed_in=files[0].name,
        )
        samples.require_distinct_ids(str(files[0]), "export one task alone, or give its images subsets")
        if others := named.unnamed(images):
            log.info("%s: %d images are not in the XML, so they are not used", base, others, extra=ONCE)
        colours = {name: colour for name, colour in export.labels.items() if colour is not None}
        super().__init__(samples, Legend.of_drawings(list(export.labels), [IGNORED], colours), split=split, **options)

    looks_for = "annotations.xml of CVAT"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for an XML file of CVAT."""
        return Recognised(f"{find_exports(root, None)[0].name} of CVAT")

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits that images are given to; None where none is."""
        export = _Export()
        for path in find_exports(Path(options["root"]), options.get("annotations")):
            _read(path, export)
        return {split for split in export.splits if split} or None


def find_exports(root: Path, annotations: str | None) -> list[Path]:
    """Find CVAT's XML files in a folder; raises `DataError` without any."""
    if annotations is not None:
        return [root / annotations]
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds CVAT's XML")
    found = [path for path in sorted(root.glob("*.xml")) if is_export(path)]
    if not found:
        packed = next(iter(sorted(root.glob("*.zip"))), None)
        remedy = f"unpack {packed.name}" if packed else "set data.root to the folder that holds annotations.xml"
        if (root / "labelmap.txt").is_file():
            remedy = "it holds an export of masks: set data=voc"
        raise DataError(f"{root}: no XML of CVAT there, expected {EXPORT}; {remedy}")
    return found


def is_export(path: Path) -> bool:
    """Tell whether an XML file is of CVAT, by its first element."""
    try:
        with path.open("rb") as file:
            return b"<annotations" in file.read(1000)
    except OSError:
        return False


def _read(path: Path, export: _Export) -> None:
    """Add what an XML file holds; raises `DataError` where it is of something else."""
    stamp = stamp_of_file(path)
    of_file = split_called(path.stem)
    try:
        for element in _elements(path):
            if element.tag == "meta":
                export.labels.update(_labels(element))
            elif element.tag == "track":
                raise DataError(f"{path}: holds tracks of a video, expected {EXPORT}; export it so")
            else:
                _read_image(path, element, stamp, of_file, export)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {EXPORT}; restore it") from None
    except (ParseError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}), expected {EXPORT}; export it again") from None
    if not export.labels:
        raise DataError(f"{path}: names no labels in <meta>, expected {EXPORT}; export it again")


def _elements(path: Path) -> Iterator[Element]:
    """Yield the elements right below the first, one at a time: a file may hold a million polygons."""
    depth, top = 0, None
    for event, element in iterparse(path, ("start", "end")):
        depth += 1 if event == "start" else -1
        top = element if top is None else top
        if event == "end" and depth == 1:
            if element.tag in ("meta", "image", "track"):
                yield element
            top.clear()  # else it would keep all that was read


def _labels(meta: Element) -> dict[str, Colour | None]:
    """Return the labels of a task or project, with their colours."""
    found: dict[str, Colour | None] = {}
    for label in meta.iter("label"):
        if label.findtext("parent"):  # a point of a skeleton
            continue
        colour = (label.findtext("color") or "").lstrip("#")
        is_colour = len(colour) == 6 and all(letter in "0123456789abcdefABCDEF" for letter in colour)
        found[label.findtext("name") or ""] = (
            (int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:], 16)) if is_colour else None
        )
    return found


def _read_image(path: Path, image: Element, stamp: str, of_file: Split | None, export: _Export) -> None:
    """Add an image and its shapes, the lowest first."""
    name, subset = image.attrib["name"].replace("\\", "/"), image.get("subset", "")
    values = {label: value for value, label in enumerate(export.labels, start=1)}
    regions: list[tuple[int, Region]] = []
    problems: list[str] = []
    for number, element in enumerate(image, 1):
        if element.tag not in WITH_AREA:
            export.left_out[element.tag] += 1
            continue
        label = element.get("label", "")
        called = f"image {image.get('id')} ({name}), {element.tag} {number} ({label})"
        try:
            regions.append((int(element.get("z_order", 0)), Region(_value(values, label), _shape(element), called)))
        except (ValueError, KeyError) as error:
            problems.append(f"{called}: {f'lacks {error}' if isinstance(error, KeyError) else error}")
    drawn = [region for _, region in sorted(regions, key=lambda one: one[0])]
    size = int(image.attrib["height"]), int(image.attrib["width"])
    export.names.append(f"{subset}/{name}" if subset else name)
    export.splits.append(split_called(subset) or of_file or split_named(name))
    export.drawings.append(drawing_of(path, drawn, problems, f"{stamp}/{len(export.names)}", size))


def _value(values: Mapping[str, int], label: str) -> int:
    if label not in values:
        raise ValueError("the label is not among those in <meta>")
    return values[label]


def _shape(element: Element) -> Shape:
    """Turn an element into a shape to draw; raises ValueError or KeyError where it lacks something."""
    if element.tag == "polygon":
        pairs = [point.split(",") for point in element.attrib["points"].split(";") if point]
        return (_polygon(pairs),)
    if element.tag == "mask":
        return _mask(element)
    degrees = float(element.get("rotation", 0))
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = (float(element.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return (ellipse(x, y, radius_x, radius_y, degrees=degrees),)
    left, top, right, bottom = (float(element.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = rectangle(left, top, right, bottom)
    center = np.array([left + right, top + bottom]) / 2
    return (center + turned(corners - center, degrees) if degrees else corners,)


def _polygon(pairs: Sequence[Sequence[str]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("points that are no pairs x,y")
    return np.array([[float(x), float(y)] for x, y in pairs]).reshape(-1, 2)


def _mask(element: Element) -> Placed:
    """Read run lengths: along the rows of a box, unlike COCO's, which go down the columns of the image."""
    top, left, height, width = (int(element.attrib[key]) for key in ("top", "left", "height", "width"))
    runs = np.array([int(word) for word in element.attrib["rle"].split(",")], np.int64)
    return Placed(top, left, Run((height, width), runs, by_columns=False))
