"""Regions as CVAT's XML, "CVAT for images 1.1": polygons, and run lengths where a region has holes."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, indent, tostring

import numpy as np

from segtrain.data.annotating.files import Size
from segtrain.data.annotating.regions import Region, pairs
from segtrain.data.files.inputs import Input
from segtrain.data.palette import Colour
from segtrain.errors import DataError
from segtrain.storage import read_text, write_text

FILE = "annotations.xml"


class CvatWriter:
    """Writes ``annotations.xml`` in a folder, when it is closed; images of an earlier call stay in it."""

    def __init__(self, folder: Path, names: Sequence[str], colours: Sequence[Colour]) -> None:
        self.file, self.names, self.colours = folder / FILE, tuple(names), tuple(colours)
        self.images: dict[str, Element] = {}
        self.is_changed = False
        if self.file.exists():
            earlier = _parsed(self.file)
            if [each.findtext("name") for each in earlier.iter("label")] == list(self.names):
                self.images = {each.attrib["name"]: each for each in earlier.findall("image")}

    def has(self, image: Input) -> bool:
        """Tell whether an image is in the file."""
        return image.listed in self.images

    def add(self, image: Input, size: Size, regions: Sequence[Region]) -> None:
        """Add an image by its path below the folder of all."""
        element = Element("image", name=image.listed, width=str(size[1]), height=str(size[0]))
        for region in regions:
            self._add_region(element, region)
        self.images[image.listed] = element
        self.is_changed = True

    def close(self) -> None:
        """Write the file, if an image was added."""
        if not self.is_changed:
            return
        root = Element("annotations")
        SubElement(root, "version").text = "1.1"
        labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
        for name, colour in zip(self.names, self.colours, strict=True):
            label = SubElement(labels, "label")
            SubElement(label, "name").text = name
            SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*colour)
            SubElement(label, "attributes")
        for number, element in enumerate(self.images.values()):
            element.set("id", str(number))
            root.append(element)
        indent(root)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n')

    def _add_region(self, image: Element, region: Region) -> None:
        shared = {"label": self.names[region.number], "source": "auto", "occluded": "0", "z_order": "0"}
        if not region.holes:
            points = ";".join(f"{x:g},{y:g}" for x, y in pairs(region.outline))
            SubElement(image, "polygon", shared, points=points)
            return
        height, width = region.mask.shape
        place = {"left": region.left, "top": region.top, "width": width, "height": height}
        runs = ", ".join(map(str, _runs(region)))
        SubElement(image, "mask", shared, rle=runs, **{key: str(value) for key, value in place.items()})


def _parsed(file: Path) -> Element:
    try:
        return fromstring(read_text(file))
    except ParseError:
        raise DataError(f"{file}: is not what predict writes, expected XML to add to; remove it") from None


def _runs(region: Region) -> list[int]:
    """Return the lengths of alternating runs of 0 and 1, 0 first, along the rows of the region's box."""
    flags = region.mask.ravel()
    changes = np.flatnonzero(np.diff(flags)) + 1
    ends = np.concatenate([[0], changes, [flags.size]])
    lengths: list[int] = np.diff(ends).tolist()
    return [0, *lengths] if flags[0] else lengths
