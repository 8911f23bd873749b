"""TIFF files read by rows hold what reading them as a whole gives."""

import numpy as np
import pytest
import tifffile

from segtrain.data.files.images import read_image
from segtrain.data.files.tiff_rows import open_rows
from segtrain.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
FILES = {
    "strips": {"rowsperstrip": 7},
    "one strip": {"rowsperstrip": 70},
    "tiles": {"tile": (32, 16), "compression": "zlib"},
    "planes": {"planarconfig": "separate", "tile": (32, 32)},
    "big endian": {"byteorder": ">", "rowsperstrip": 9},
}


def written(path, pixels=PIXELS, **options):
    if options.get("planarconfig"):
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    tifffile.imwrite(path, pixels, photometric="rgb", **options)
    return path


def read_by(path, step, channels=3):
    with open_rows(path, channels=channels) as rows:
        height, _ = rows.size
        return np.concatenate([rows(top, min(top + step, height)) for top in range(0, height, step)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", FILES)
def test_rows_are_those_of_the_whole(tmp_path, kind, dtype):
    path = written(tmp_path / "a.tif", PIXELS.astype(dtype), **FILES[kind])
    for step in (1, 13, 70):
        np.testing.assert_array_equal(read_by(path, step), read_image(path))


def test_rows_may_overlap_as_those_of_tiles_do(tmp_path):
    with open_rows(written(tmp_path / "a.tif", rowsperstrip=7), channels=3) as rows:
        for top in range(0, 50, 10):
            np.testing.assert_array_equal(rows(top, top + 20), PIXELS[top : top + 20])


def test_bands_are_converted_and_nodata_is_black(tmp_path):
    gray = PIXELS[..., 0].astype(np.int16) - 100
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray, extratags=[(42113, 2, 4, "-50", True)], rowsperstrip=8)
    for channels in (1, 3):
        np.testing.assert_array_equal(read_by(path, 20, channels), read_image(path, channels=channels))
    with open_rows(path, channels=1) as rows:
        np.testing.assert_array_equal(rows.is_empty(5, 30), gray[5:30] == -50)
        assert rows.is_empty(0, 70).any()


def test_what_tifffile_alone_cannot_decode_is_read_by_rasterio(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    options = {"driver": "GTiff", "height": 70, "width": 90, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    with rasterio.open(path, "w", compress="lzw", **options) as file:
        file.write(PIXELS.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_by(path, 33), read_image(path))


@pytest.mark.parametrize("kind", ["png", "cut", "pages", "turned", "palette", "small", "none"])
def test_others_are_left_to_be_read_as_a_whole(tmp_path, kind):
    path = tmp_path / "a.tif"
    options = {}
    if kind == "pages":
        tifffile.imwrite(path, np.zeros((2, 70, 90), np.uint8), photometric="minisblack")
    elif kind == "turned":
        written(path, extratags=[(274, 3, 1, 6, True)])
    elif kind == "palette":
        tifffile.imwrite(path, PIXELS[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    elif kind != "none":
        written(path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:6])
    if kind == "png":
        path.write_bytes(b"\x89PNG")
    if kind == "small":
        options = {"at_least": 70 * 90 + 1}
    with open_rows(path, channels=3, **options) as rows:
        assert rows is None


def test_too_many_pixels_and_damage_in_the_middle_are_one_line(tmp_path):
    path = written(tmp_path / "a.tif", rowsperstrip=7, compression="zlib")
    with (
        pytest.raises(DataError, match="90x70 pixels, expected at most 6299"),
        open_rows(path, channels=3, max_pixels=6299),
    ):
        pass
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[5]
    data = bytearray(path.read_bytes())
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with open_rows(path, channels=3) as rows, pytest.raises(DataError, match=r"a\.tif: cannot be decoded"):
        rows(0, 70)
