"""Small data sets as annotation tools write them: for each tool, a function of a folder.

Each returns the words that open what it wrote. A scene is blocks of whole pixels, painted in order, so
that any tool can describe it exactly; `truth` knows its pixels.
"""

import base64
import io
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.data.layouts import SIZE, SPLITS, photo_of, save

CLASSES = ("cat", "dog", "cow")


class Block(NamedTuple):
    """Pixels of one class, 1..3: rows top..bottom, columns left..right, without the last."""

    label: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def corners(self):
        return [[self.left, self.top], [self.right, self.top], [self.right, self.bottom], [self.left, self.bottom]]

    @property
    def flat(self):
        return [number for corner in self.corners for number in corner]


def blocks_of(seed):
    """Three blocks, one for each class, each smaller than those before."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    found = []
    for side, label in zip((14, 10, 6), rng.permutation(3) + 1, strict=True):
        left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        found.append(Block(int(label), left, top, left + side, top + side))
    return found


def truth(seed):
    """The pixels of a scene, ``(H, W)`` of uint8."""
    labels = np.zeros(SIZE, np.uint8)
    for block in blocks_of(seed):
        labels[block.top : block.bottom, block.left : block.right] = block.label
    return labels


def scenes():
    """Yield split, name and seed of each sample."""
    for number, split in enumerate(SPLITS):
        for sample in range(SPLITS[split]):
            yield split, f"{split}_{sample:04d}", 1000 * number + sample


def write_photo(path, seed):
    save(path, photo_of(truth(seed), seed))


def column_runs(mask):
    """Run lengths down the columns, 0 first, as COCO writes a crowd."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def coco_json(scene_names, suffix=".jpg", ids=(18, 17, 90)):
    """The object of COCO's JSON for some scenes; categories are neither in order nor without gaps."""
    data = {"images": [], "annotations": [], "categories": []}
    data["categories"] = [{"id": ids[n], "name": name, "supercategory": "animal"} for n, name in enumerate(CLASSES)]
    height, width = SIZE
    for number, (name, seed) in enumerate(scene_names):
        image = 500 + number
        data["images"].append({"id": image, "file_name": f"{name}{suffix}", "height": height, "width": width})
        for block in blocks_of(seed):
            box = [block.left, block.top, block.right - block.left, block.bottom - block.top]
            data["annotations"].append(
                {
                    "id": len(data["annotations"]) + 1,
                    "image_id": image,
                    "category_id": ids[block.label - 1],
                    "segmentation": [block.flat],
                    "area": float(box[2] * box[3]),
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    return data


def coco(root: Path) -> list[str]:
    """As COCO has it: annotations/instances_train2017.json beside train2017/."""
    for split in SPLITS:
        named = [(name, seed) for own, name, seed in scenes() if own == split]
        for name, seed in named:
            write_photo(root / f"{split}2017" / f"{name}.png", seed)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(coco_json(named, ".png")))
    return ["data=coco", f"data.root={root}"]


def roboflow(root: Path) -> list[str]:
    """As Roboflow writes COCO: train/_annotations.coco.json among the images, and a category for the group."""
    for split in SPLITS:
        named = [(name, seed) for own, name, seed in scenes() if own == split]
        folder = root / {"val": "valid"}.get(split, split)
        for name, seed in named:
            write_photo(folder / f"{name}.jpg", seed)
        data = coco_json(named, ids=(1, 2, 3))
        data["categories"].insert(0, {"id": 0, "name": "animal", "supercategory": "none"})
        (folder / "_annotations.coco.json").write_text(json.dumps(data))
    return ["data=coco", f"data.root={root}"]


def polygons_txt(seed):
    """YOLO's lines: class from 0, corners as shares of width and height."""
    height, width = SIZE
    lines = []
    for block in blocks_of(seed):
        shares = [f"{x / width:.6f} {y / height:.6f}" for x, y in block.corners]
        lines.append(f"{block.label - 1} {' '.join(shares)}\n")
    return "".join(lines)


def yolo(root: Path) -> list[str]:
    """As Ultralytics has it: data.yaml, images/train and labels/train."""
    for split, name, seed in scenes():
        write_photo(root / "images" / split / f"{name}.jpg", seed)
        labels = root / "labels" / split / f"{name}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(polygons_txt(seed))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    folders = "".join(f"{split}: images/{split}\n" for split in SPLITS)
    (root / "data.yaml").write_text(f"path: ../datasets/animals\n{folders}names:\n{names}")
    return ["data=yolo", f"data.root={root}"]


def labelme_json(name, seed, suffix=".jpg"):
    """The object of labelme's JSON for a scene: a polygon, a rectangle and a mask, the first holding a point."""
    height, width = SIZE
    polygon, box, mask = blocks_of(seed)
    picture = io.BytesIO()
    Image.fromarray(np.ones((mask.bottom - mask.top, mask.right - mask.left), bool)).save(picture, "PNG")
    common = {"group_id": None, "description": "", "flags": {}}

    def shape(block, kind, points, **more):
        return {"label": CLASSES[block.label - 1], "points": points, **common, "shape_type": kind, **more}

    inner = [[mask.left, mask.top], [mask.right - 1, mask.bottom - 1]]  # labelme's boxes of masks hold their last pixel
    shapes = [
        shape(polygon, "polygon", [[float(x), float(y)] for x, y in polygon.corners], mask=None),
        shape(polygon, "point", [[polygon.left + 0.5, polygon.top + 0.5]], mask=None),
        shape(box, "rectangle", [box.corners[2], box.corners[0]], mask=None),
        shape(mask, "mask", inner, mask=base64.b64encode(picture.getvalue()).decode()),
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}{suffix}",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def labelme(root: Path) -> list[str]:
    """As labelme leaves it: a JSON file beside each image."""
    for split, name, seed in scenes():
        write_photo(root / split / f"{name}.jpg", seed)
        (root / split / f"{name}.json").write_text(json.dumps(labelme_json(name, seed), indent=2))
    return ["data=labelme", f"data.root={root}"]


def cvat_shape(number, block):
    """An element of CVAT's XML: a polygon, a box or a mask, whose runs go along the rows of its box."""
    label = f'label="{CLASSES[block.label - 1]}" source="manual" occluded="0"'
    if number == 0:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in block.corners)
        return f'    <polygon {label} points="{points}" z_order="0">\n    </polygon>\n'
    if number == 1:
        sides = " ".join(
            f'{key}="{value:.2f}"' for key, value in zip(("xtl", "ytl", "xbr", "ybr"), block[1:], strict=True)
        )
        return f'    <box {label} {sides} z_order="1">\n    </box>\n'
    width, height = block.right - block.left, block.bottom - block.top
    place = f'left="{block.left}" top="{block.top}" width="{width}" height="{height}"'
    return f'    <mask {label} rle="0, {width * height}" {place} z_order="2">\n    </mask>\n'


def cvat(root: Path) -> list[str]:
    """As CVAT exports a project: one XML, images in folders of their subsets; the topmost shape comes first."""
    colours = ("#fa3253", "#33ddff", "#24b353")
    labels = "".join(
        f"<label><name>{name}</name><color>{colour}</color><type>any</type><attributes></attributes></label>\n"
        for name, colour in zip(CLASSES, colours, strict=True)
    )
    images = []
    height, width = SIZE
    for number, (split, name, seed) in enumerate(scenes()):
        write_photo(root / "images" / split.capitalize() / f"{name}.jpg", seed)
        shapes = [cvat_shape(index, block) for index, block in enumerate(blocks_of(seed))]
        shapes.insert(0, '    <polyline label="cat" points="0.00,0.00;5.00,5.00" z_order="9">\n    </polyline>\n')
        start = f'id="{number}" name="{name}.jpg" subset="{split.capitalize()}" task_id="1"'
        start += f' width="{width}" height="{height}"'
        images.append(f"  <image {start}>\n{''.join(reversed(shapes))}  </image>\n")
    meta = f"<meta><project><id>1</id><labels>\n{labels}</labels></project></meta>\n"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{meta}{"".join(images)}'
    (root / "annotations.xml").write_text(f"{text}</annotations>\n")
    return ["data=cvat", f"data.root={root}"]


def brush_runs(mask):
    """A mask as Label Studio packs it, each run as a block of its own with lengths of 16 bits."""
    values = np.repeat(np.where(mask.ravel(), 255, 0), 4)
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1), values.size]
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start, end in itertools.pairwise(edges):
        bits += f"111{end - start - 1:016b}{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def label_studio_results(seed):
    """A polygon, a rectangle, a brush in two strokes, and a key point; numbers are hundredths of the sides."""
    height, width = SIZE
    polygon, box, brush = blocks_of(seed)

    def result(kind, number, block, value):
        label = {f"{kind}labels": [CLASSES[block.label - 1]]}
        frame = {"original_width": width, "original_height": height, "image_rotation": 0}
        return {"id": f"r{number}", "type": f"{kind}labels", "from_name": "tag", **frame, "value": {**value, **label}}

    strokes = []
    for half in (slice(brush.top, brush.top + 2), slice(brush.top + 2, brush.bottom)):
        mask = np.zeros(SIZE, bool)
        mask[half, brush.left : brush.right] = True
        strokes.append({"format": "rle", "rle": brush_runs(mask)})
    corner = {"x": 100 * box.left / width, "y": 100 * box.top / height, "rotation": 0}
    sides = {"width": 100 * (box.right - box.left) / width, "height": 100 * (box.bottom - box.top) / height}
    return [
        result("polygon", 1, polygon, {"points": [[100 * x / width, 100 * y / height] for x, y in polygon.corners]}),
        result("rectangle", 2, box, {**corner, **sides}),
        result("keypoint", 3, box, {"x": 50, "y": 50, "width": 1}),
        *(result("brush", 4 + number, brush, stroke) for number, stroke in enumerate(strokes)),
    ]


def label_studio(root: Path) -> list[str]:
    """As Label Studio exports it: one JSON of tasks, whose images are named as they were uploaded; no splits."""
    tasks = []
    for number, (_, name, seed) in enumerate(scenes()):
        write_photo(root / "images" / f"{name}.jpg", seed)
        annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "ground_truth": False}
        annotation["result"] = label_studio_results(seed)
        image = f"/data/upload/1/{number + 0xABCDEF01:08x}-{name}.jpg"
        tasks.append({"id": number, "annotations": [annotation], "data": {"image": image}, "predictions": []})
    (root / "project-1-at-2026-11-28.json").write_text(json.dumps(tasks))
    return ["data=label_studio", f"data.root={root}", "data.val_fraction=0.27"]


def coco_multilabel(root: Path) -> list[str]:
    """As COCO has it, with a mask for each class."""
    return [*coco(root), "data.mode=multilabel"]


TOOLS = {
    "coco": coco,
    "coco_multilabel": coco_multilabel,
    "roboflow": roboflow,
    "yolo": yolo,
    "labelme": labelme,
    "cvat": cvat,
    "label_studio": label_studio,
}


def assert_drawn(source, seeds):
    """Every sample is there, and each pixel has the class that was drawn; ``seeds`` are those of the scenes, by id."""
    assert set(source.ids) == set(seeds)
    for index, name in enumerate(source.ids):
        expected = np.array(("background", *CLASSES))[truth(seeds[name])]
        assert (np.array(source.class_names)[source[index].mask] == expected).all()
