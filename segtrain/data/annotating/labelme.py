"""Regions as the JSON files of labelme, one for each image: polygons, and masks where a region has holes."""

import base64
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtrain.data.annotating.files import Size, write_json
from segtrain.data.annotating.regions import Region, pairs
from segtrain.data.files.inputs import Input
from segtrain.data.palette import Colour
from segtrain.storage import write_text

VERSION = "5.5.0"
"""Of labelme, whose files these are alike."""


class LabelmeWriter:
    """Writes a JSON file for each image, with the path to it, and ``labels.txt`` with the names of the classes."""

    def __init__(self, folder: Path, names: Sequence[str], colours: Sequence[Colour]) -> None:  # noqa: ARG002
        self.folder, self.names = folder, tuple(names)

    def has(self, image: Input) -> bool:
        """Tell whether an image has a file."""
        return self._file(image).exists()

    def add(self, image: Input, size: Size, regions: Sequence[Region]) -> None:
        """Write the file of an image."""
        file = self._file(image)
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [self._shape(region) for region in regions],
            "imagePath": os.path.relpath(image.path, file.parent),
            "imageData": None,
            "imageHeight": size[0],
            "imageWidth": size[1],
        }
        write_json(file, content)

    def close(self) -> None:
        """Write the names of the classes, in their order."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "labels.txt", "".join(f"{name}\n" for name in self.names))

    def _file(self, image: Input) -> Path:
        return self.folder / f"{image.name}.json"

    def _shape(self, region: Region) -> dict[str, Any]:
        shape: dict[str, Any] = {"label": self.names[region.number], "group_id": None, "description": "", "flags": {}}
        if not region.holes:
            return {**shape, "shape_type": "polygon", "points": pairs(region.outline), "mask": None}
        height, width = region.mask.shape
        corners = [[region.left, region.top], [region.left + width - 1, region.top + height - 1]]
        encoded = BytesIO()
        Image.fromarray(region.mask.astype(np.uint8) * np.uint8(255)).save(encoded, "PNG")
        mask = base64.b64encode(encoded.getvalue()).decode()
        return {**shape, "shape_type": "mask", "points": corners, "mask": mask}
