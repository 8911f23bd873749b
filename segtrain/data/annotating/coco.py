"""Regions as COCO's JSON: polygons, and compressed run lengths where a region has holes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from segtrain.data.annotating.files import Size, read_earlier, write_json
from segtrain.data.annotating.regions import Region, flat
from segtrain.data.files.inputs import Input
from segtrain.data.palette import Colour

FILE = "instances_default.json"


class CocoWriter:
    """Writes ``instances_default.json`` in a folder, when it is closed; images of an earlier call stay in it."""

    def __init__(self, folder: Path, names: Sequence[str], colours: Sequence[Colour]) -> None:  # noqa: ARG002
        self.file = folder / FILE
        self.categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
        earlier = read_earlier(self.file) or {}
        if earlier.get("categories") != self.categories:
            earlier = {}
        self.images: dict[str, dict[str, Any]] = {each["file_name"]: each for each in earlier.get("images", [])}
        self.annotations: dict[int, list[dict[str, Any]]] = {each["id"]: [] for each in self.images.values()}
        for each in earlier.get("annotations", []):
            self.annotations[each["image_id"]].append(each)
        self.is_changed = False

    def has(self, image: Input) -> bool:
        """Tell whether an image is in the file."""
        return image.listed in self.images

    def add(self, image: Input, size: Size, regions: Sequence[Region]) -> None:
        """Add an image by its path below the folder of all."""
        known = self.images.get(image.listed)
        number = known["id"] if known else max(self.annotations, default=0) + 1
        self.images[image.listed] = {"id": number, "file_name": image.listed, "height": size[0], "width": size[1]}
        self.annotations[number] = [_annotation(region, number, size) for region in regions]
        self.is_changed = True

    def close(self) -> None:
        """Write the file, if an image was added."""
        if not self.is_changed:
            return
        every = [each for number in sorted(self.annotations) for each in self.annotations[number]]
        annotations = [
            {"id": number, **{key: value for key, value in each.items() if key != "id"}}
            for number, each in enumerate(every, 1)
        ]
        images = sorted(self.images.values(), key=lambda each: int(each["id"]))
        write_json(self.file, {"images": images, "annotations": annotations, "categories": self.categories})


def _annotation(region: Region, image: int, size: Size) -> dict[str, Any]:
    height, width = region.mask.shape
    return {
        "image_id": image,
        "category_id": region.number + 1,
        "segmentation": _run_lengths(region, size) if region.holes else [flat(region.outline)],
        "bbox": [region.left, region.top, width, height],
        "area": region.area,
        "iscrowd": 0,
    }


def _run_lengths(region: Region, size: Size) -> dict[str, Any]:
    """Return the pixels as compressed run lengths: COCO's polygons have no holes."""
    whole = np.zeros(size, np.uint8, order="F")
    height, width = region.mask.shape
    whole[region.top : region.top + height, region.left : region.left + width] = region.mask
    encoded = coco.encode(whole)
    return {"size": list(size), "counts": encoded["counts"].decode()}
