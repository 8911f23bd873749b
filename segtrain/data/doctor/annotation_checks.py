"""Checks of what annotation tools drew: polygons of which a part lies outside their image."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from segtrain.data.doctor.finding import Finding
from segtrain.data.files.drawings import Drawing, Region
from segtrain.data.files.inspection import Inspector

SLACK = 1.0  # pixels by which tools let corners lie outside: at the right and lower border


def regions_beyond(drawing: Drawing, size: tuple[int, int], inspector: Inspector) -> list[str]:
    """Name the regions with a corner outside an image of that ``(H, W)``, cached."""
    kind = f"drawing beyond {drawing.stamp} {size}"
    return list(
        inspector.facts(
            drawing.path, kind, lambda: [each.name for each in drawing.find(size).regions if _is_beyond(each, size)]
        )
    )


def _is_beyond(region: Region, size: tuple[int, int]) -> bool:
    if not isinstance(region.shape, tuple) or hasattr(region.shape, "_fields"):  # run lengths and boxes have fields
        return False
    height, width = size
    corners = [np.asarray(polygon, float).reshape(-1, 2) for polygon in region.shape if len(polygon)]
    return any(((each < -SLACK) | (each > np.array([width, height]) + SLACK)).any() for each in corners)


def polygons_outside(found: Iterable[tuple[Path, Path, list[str]]]) -> list[Finding]:
    """Describe polygons that reach beyond their images: file of the annotations, image, and names of each."""
    findings = []
    for file, image, names in dict.fromkeys((file, image, tuple(names)) for file, image, names in found if names):
        text = f"{names[0]}: has corners outside of {image.name}, where nothing is drawn"
        count = f"({len(names)} such in this image)" if len(names) > 1 else ""
        remedy = "correct it, unless it is cut at the border on purpose"
        findings.append(Finding("warning", "polygon outside", (file, image), text, remedy, count))
    return findings
