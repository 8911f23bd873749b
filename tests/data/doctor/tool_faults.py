"""Faults to plant in the annotations that tools write: files of text, whose shapes are drawn while loading."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.data import layouts, tool_layouts
from tests.data.doctor.faults import Fault, cut

TRAIN_JSON = "annotations/instances_train2017.json"
YOLO_TXT = "labels/train/train_0001.txt"
LABELME_JSON = "train/train_0001.json"
CVAT_XML = "annotations.xml"
STUDIO_JSON = "project-1-at-2026-11-28.json"
TABLE = "samples.csv"


def edit(name: str, change: Callable[[dict], object]):
    """Change what a JSON file holds."""

    def plant(root: Path) -> None:
        data = json.loads((root / name).read_text())
        change(data)
        (root / name).write_text(json.dumps(data))

    return plant


def annotation(change: Callable[[dict], object]):
    return edit(TRAIN_JSON, lambda data: change(data["annotations"][0]))


COCO = [
    Fault(
        "coco: invalid run lengths",
        annotation(lambda one: one.update(segmentation={"size": [24, 32], "counts": [5, 5]})),
        "fatal",
        "annotation",
        TRAIN_JSON,
        "run lengths of 10 pixels, expected 768",
        tool_layouts.coco,
        repaired=True,
    ),
    Fault(
        "coco: invalid compressed run lengths",
        annotation(lambda one: one.update(segmentation={"size": [24, 32], "counts": "~~~"})),
        "fatal",
        "annotation",
        TRAIN_JSON,
        "run lengths",
        tool_layouts.coco,
        repaired=True,
    ),
    Fault(
        "coco: polygon outside",
        annotation(lambda one: one.update(segmentation=[[20, 10, 50, 10, 50, 20, 20, 20]])),
        "warning",
        "polygon outside",
        TRAIN_JSON,
        "has corners outside",
        tool_layouts.coco,
    ),
    Fault(
        "coco: polygon nowhere in the image",
        annotation(lambda one: one.update(segmentation=[[100, 100, 150, 100, 150, 120]])),
        "fatal",
        "annotation",
        TRAIN_JSON,
        "lies outside the image",
        tool_layouts.coco,
        repaired=True,
    ),
    Fault(
        "coco: polygon of two points",
        annotation(lambda one: one.update(segmentation=[[1, 1, 5, 5]])),
        "fatal",
        "annotation",
        TRAIN_JSON,
        "expected",
        tool_layouts.coco,
        repaired=True,
    ),
    Fault(
        "coco: class listed but never drawn",
        lambda root: [
            edit(
                f"annotations/instances_{split}2017.json",
                lambda data: data["categories"].append({"id": 99, "name": "owl"}),
            )(root)
            for split in ("train", "val", "test")
        ],
        "warning",
        "class never drawn",
        None,
        "no mask at all holds owl",
        tool_layouts.coco,
    ),
    Fault(
        "coco: no such image",
        lambda root: (root / "train2017/train_0001.png").unlink(),
        "fatal",
        "missing",
        None,
        "train_0001.png",
        tool_layouts.coco,
        repaired=True,
    ),
    Fault(
        "coco: not JSON",
        cut(TRAIN_JSON),
        "fatal",
        "layout",
        TRAIN_JSON,
        "JSON",
        tool_layouts.coco,
    ),
]


def rewrite(name: str, pattern: str, text: str):
    """Replace what a pattern matches first in a file of text."""

    def plant(root: Path) -> None:
        before = (root / name).read_text()
        after = re.sub(pattern, text, before, count=1, flags=re.DOTALL)
        assert after != before
        (root / name).write_text(after)

    return plant


def labelme_shape(number: int, **values: Any):
    return edit(LABELME_JSON, lambda data: data["shapes"][number].update(values))


def studio_result(number: int, change: Callable[[dict], object]):
    return edit(STUDIO_JSON, lambda tasks: change(tasks[1]["annotations"][0]["result"][number]))


def cvat_points(points: str):
    return rewrite(CVAT_XML, '(<polygon [^>]*points=")[^"]*"', rf'\g<1>{points}"')


def drawn(make: Callable[[Path], list[str]], file: str) -> Callable[..., Fault]:
    """Make faults of single annotations: fatal, or left out by ``data.on_bad=skip``."""

    def fault(name: str, plant: Callable[[Path], object], said: str) -> Fault:
        return Fault(name, plant, "fatal", "annotation", file, said, make, repaired=True)

    return fault


def outside(make: Callable[[Path], list[str]], file: str, name: str, plant: Callable[[Path], object]) -> Fault:
    return Fault(name, plant, "warning", "polygon outside", file, "has corners outside", make)


in_yolo = drawn(tool_layouts.yolo, YOLO_TXT)
in_labelme = drawn(tool_layouts.labelme, LABELME_JSON)
in_cvat = drawn(tool_layouts.cvat, CVAT_XML)
in_studio = drawn(tool_layouts.label_studio, STUDIO_JSON)
NAN = float("nan")

YOLO = [
    in_yolo("yolo: class beyond the names", rewrite(YOLO_TXT, r"^\d", "7"), "class 7, expected 0 to 2"),
    in_yolo("yolo: odd number of shares", rewrite(YOLO_TXT, r" [\d.]+\n", "\n"), "7 numbers, expected pairs x y"),
    in_yolo("yolo: outside", rewrite(YOLO_TXT, r"^(\d) [\d.]+", r"\1 1.4"), "expected 0 to 1, shares of the image"),
    in_yolo(
        "yolo: pixels, not shares",
        lambda root: (root / YOLO_TXT).write_text("0 10 10 20 10 20 20\n"),
        "coordinates from 10 to 20, expected 0 to 1",
    ),
    in_yolo("yolo: words", lambda root: (root / YOLO_TXT).write_text("cat here\n"), "are no numbers"),
]
LABELME = [
    in_labelme("labelme: polygon of two points", labelme_shape(0, points=[[1, 1], [5, 5]]), "a polygon of 2 points"),
    in_labelme("labelme: mask that is no PNG", labelme_shape(3, mask="aGVsbG8="), "a mask that cannot be decoded"),
    in_labelme("labelme: NaN", labelme_shape(0, points=[[NAN, 1], [5, 5], [7, 9]]), "NaN or infinite corners"),
    outside(
        tool_layouts.labelme,
        LABELME_JSON,
        "labelme: polygon outside",
        labelme_shape(0, points=[[20, 10], [50, 10], [50, 20]]),
    ),
    Fault(
        "labelme: not JSON",
        cut(LABELME_JSON),
        "fatal",
        "unreadable",
        LABELME_JSON,
        "expected a JSON file of labelme",
        tool_layouts.labelme,
        repaired=True,
    ),
    Fault(
        "labelme: other size",
        edit(LABELME_JSON, lambda data: data.update(imageHeight=99)),
        "fatal",
        "sizes differ",
        LABELME_JSON,
        "mask of 32x99 pixels for an image of 32x24",
        tool_layouts.labelme,
    ),
]
CVAT = [
    in_cvat("cvat: invalid run lengths", rewrite(CVAT_XML, r'rle="0, \d+"', 'rle="0, 5"'), "expected 36"),
    in_cvat("cvat: polygon of two points", cvat_points("1,2;3,4"), "a polygon of 2 points"),
    in_cvat("cvat: no points", cvat_points("here"), "points that are no pairs x,y"),
    in_cvat(
        "cvat: unknown label",
        rewrite(CVAT_XML, '(<polygon label=")[^"]*"', r'\g<1>owl"'),
        "the label is not among those in <meta>",
    ),
    outside(tool_layouts.cvat, CVAT_XML, "cvat: polygon outside", cvat_points("20,10;50,10;50,20")),
    Fault("cvat: cut", cut(CVAT_XML), "fatal", "layout", CVAT_XML, "is damaged", tool_layouts.cvat),
]
LABEL_STUDIO = [
    in_studio("label studio: brush", studio_result(3, lambda one: one["value"].update(rle=[1, 2, 3])), "too early"),
    in_studio(
        "label studio: polygon of two points",
        studio_result(0, lambda one: one["value"].update(points=[[1, 1], [5, 5]])),
        "a polygon of 2 points",
    ),
    outside(
        tool_layouts.label_studio,
        STUDIO_JSON,
        "label studio: polygon outside",
        studio_result(0, lambda one: one["value"].update(points=[[10, 10], [150, 10], [50, 50]])),
    ),
    Fault(
        "label studio: cut",
        cut(STUDIO_JSON),
        "fatal",
        "layout",
        STUDIO_JSON,
        "no JSON",
        tool_layouts.label_studio,
    ),
    Fault(
        "label studio: other size",
        studio_result(0, lambda one: one.update(original_width=99)),
        "fatal",
        "sizes differ",
        STUDIO_JSON,
        "mask of 99x24 pixels for an image of 32x24",
        tool_layouts.label_studio,
    ),
]


def in_table(name: str, plant: Callable[[Path], object], said: str) -> Fault:
    return Fault(name, plant, "fatal", "layout", TABLE, said, layouts.table)


CSV = [
    in_table("csv: unknown split", rewrite(TABLE, ",train,", ",trian,"), "line 2 has the split 'trian'"),
    in_table("csv: negative weight", rewrite(TABLE, "1\n", "-1\n"), "line 2 has the weight '-1'"),
    in_table("csv: a field too many", rewrite(TABLE, ",train,", ",train,x,"), "line 2 has 6 fields, expected 5"),
    in_table("csv: a row twice", rewrite(TABLE, r"(\nphotos[^\n]*)", r"\1\1"), "twice, expected one line"),
    Fault(
        "csv: no such mask",
        lambda root: (root / "labels/train_0001.png").unlink(),
        "fatal",
        "missing",
        "labels/train_0001.png",
        "add what is missing",
        layouts.table,
        repaired=True,
    ),
]
FAULTS = [*COCO, *YOLO, *LABELME, *CVAT, *LABEL_STUDIO, *CSV]
