"""Regions as GeoJSON (RFC 7946), one file for each image: on the map where the image says where it lies."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segtrain.data.annotating.files import Size, write_json
from segtrain.data.annotating.regions import Region, pairs
from segtrain.data.files.geo import INSTALL
from segtrain.data.files.inputs import Input
from segtrain.data.files.rasterize import Polygon
from segtrain.data.files.tiff_writing import place_of
from segtrain.data.palette import Colour
from segtrain.terminal.console import ONCE

log = logging.getLogger(__name__)


class GeojsonWriter:
    """Writes a file of polygons for each image: in coordinates of its map, else in pixels, x to the right, y down.

    Maps of another system than longitude and latitude are named in ``crs``, as programs for maps read it, which
    RFC 7946 has left out. That needs rasterio.
    """

    def __init__(self, folder: Path, names: Sequence[str], colours: Sequence[Colour]) -> None:  # noqa: ARG002
        self.folder, self.names = folder, tuple(names)

    def has(self, image: Input) -> bool:
        """Tell whether an image has a file."""
        return self._file(image).exists()

    def add(self, image: Input, size: Size, regions: Sequence[Region]) -> None:  # noqa: ARG002
        """Write the file of an image."""
        to_map, crs = _map_of(image.path)
        features = [self._feature(region, to_map) for region in regions]
        write_json(self._file(image), {"type": "FeatureCollection", **crs, "features": features})

    def close(self) -> None:
        """Nothing is left to write."""

    def _file(self, image: Input) -> Path:
        return self.folder / f"{image.name}.geojson"

    def _feature(self, region: Region, to_map: Callable[[Polygon], list[Any]]) -> dict[str, Any]:
        rings = [to_map(ring) for ring in (region.outline, *region.holes)]
        closed = [[*ring, ring[0]] for ring in rings]
        about = {"class": self.names[region.number], "pixels": region.area}
        return {"type": "Feature", "properties": about, "geometry": {"type": "Polygon", "coordinates": closed}}


def _map_of(image: Path) -> tuple[Callable[[Polygon], list[Any]], dict[str, Any]]:
    """Return what turns corners of pixels into coordinates, and the ``crs`` of these."""
    if place_of(image) is None:
        return pairs, {}
    try:
        import rasterio
    except ImportError:
        log.warning("GeoJSON is written in pixels: coordinates of a map need rasterio; run %s", INSTALL, extra=ONCE)
        return pairs, {}
    with rasterio.open(image) as file:
        transform, crs = file.transform, file.crs
    code = crs.to_epsg() if crs else None
    named = {"crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}} if code else {}

    def to_map(corners: Polygon) -> list[Any]:
        return [list(transform * (x, y)) for x, y in corners.tolist()]

    return to_map, named
