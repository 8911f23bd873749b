"""TIFF files written by rows: whole or not at all, in their place on the map, with nodata and palettes."""

import numpy as np
import pytest
import tifffile

from segtrain.data.files.images import read_mask
from segtrain.data.files.tiff_writing import TiffWriter, place_of

LABELS = np.random.default_rng(0).integers(0, 5, (700, 530), dtype=np.uint8)


def write(path, pixels=LABELS, step=100, **options):
    writer = TiffWriter(path, pixels.shape, pixels.dtype, **options)
    for top in range(0, len(pixels), step):
        writer.write(pixels[top : top + step])
    np.testing.assert_array_equal(writer.rows(), pixels)
    assert not path.exists()
    writer.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_become_a_file_and_nothing_is_left_beside_it(tmp_path, dtype):
    write(tmp_path / "deep" / "a.tif", LABELS.astype(dtype) * 50)
    np.testing.assert_array_equal(read_mask(tmp_path / "deep" / "a.tif"), LABELS.astype(dtype) * 50)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.tif"]


def test_colours_and_palettes(tmp_path):
    rgb = np.stack([LABELS, LABELS * 2, LABELS * 3], -1)
    write(tmp_path / "rgb.tif", rgb)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "rgb.tif"), rgb)
    write(tmp_path / "palette.tif", colours=[(1, 2, 3), (250, 251, 252)])
    with tifffile.TiffFile(tmp_path / "palette.tif") as file:
        assert file.pages[0].colormap[:, 1].tolist() == [250 * 257, 251 * 257, 252 * 257]
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.tif"), LABELS)


def test_what_is_discarded_leaves_nothing(tmp_path):
    writer = TiffWriter(tmp_path / "a.tif", LABELS.shape, np.uint8)
    writer.write(LABELS[:5])
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_place_on_the_map_is_kept(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    options = {"driver": "GTiff", "height": 700, "width": 530, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.25)
    with rasterio.open(tmp_path / "map.tif", "w", transform=transform, **options) as file:
        file.write(LABELS[None])
    write(tmp_path / "mask.tif", place=place_of(tmp_path / "map.tif"), nodata=255)
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert (file.crs, file.transform, file.nodata) == (rasterio.CRS.from_epsg(32633), transform, 255)
        np.testing.assert_array_equal(file.read(1), LABELS)


def test_a_photo_has_no_place(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert place_of(tmp_path / "a.tif") is place_of(tmp_path / "a.png") is place_of(tmp_path / "none.tif") is None
