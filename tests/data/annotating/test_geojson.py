"""GeoJSON: rings with holes, in pixels, or on the map where the image says where it lies."""

import json

import numpy as np
import pytest

from segtrain.data.annotating.geojson import GeojsonWriter
from segtrain.data.annotating.regions import find_regions
from segtrain.data.files.inputs import name_inputs
from segtrain.task import make_task
from tests.data.annotating.scenes import NAMES, SIZE, write_all
from tests.data.annotating.test_regions import drawn


def test_the_rings_give_the_labels_again(tmp_path):
    scenes = write_all(GeojsonWriter, tmp_path)
    for name, labels in scenes.items():
        found = np.zeros(SIZE, np.uint8)
        stored = json.loads((tmp_path / "out" / name).with_suffix(".geojson").read_text())
        assert stored["type"] == "FeatureCollection"
        for feature in stored["features"]:
            rings = feature["geometry"]["coordinates"]
            assert all(ring[0] == ring[-1] for ring in rings)
            outer, *holes = (drawn(np.array(ring[:-1], float)) for ring in rings)
            found[outer & ~np.any([np.zeros(SIZE, bool), *holes], axis=0)] = 1 + NAMES.index(
                feature["properties"]["class"]
            )
        np.testing.assert_array_equal(found, labels)


def test_an_image_on_the_map_gives_coordinates_of_the_map(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    options = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)
    with rasterio.open(tmp_path / "map.tif", "w", transform=transform, **options) as file:
        file.write(np.zeros((1, 20, 30), np.uint8))
    labels = np.zeros((20, 30), np.uint8)
    labels[4:8, 10:20] = 1
    writer = GeojsonWriter(tmp_path, ["a"], [(0, 0, 0)])
    (image,) = name_inputs([tmp_path / "map.tif"])
    writer.add(image, (20, 30), list(find_regions(labels, make_task("binary", ["a"]))))
    stored = json.loads((tmp_path / "map.geojson").read_text())
    corners = np.array(stored["features"][0]["geometry"]["coordinates"][0])
    assert corners.min(0).tolist() == [500_005, 4_999_996]
    assert corners.max(0).tolist() == [500_010, 4_999_998]
    assert stored["crs"]["properties"]["name"].endswith("EPSG::32633")
