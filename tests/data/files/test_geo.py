import numpy as np
import pytest
import rasterio
import tifffile

from segtrain.data.files.images import read_image, read_mask
from segtrain.errors import DataError
from tests.data.files.files_of_kinds import write_raster, write_vrt

BANDS = np.random.default_rng(0).normal(size=(20, 30, 2)).astype(np.float32)


@pytest.mark.parametrize("nodata", [-9999.0, np.nan, np.float32(-3.4028234663852886e38)])
@pytest.mark.parametrize(("suffix", "driver"), [("tif", "GTiff"), ("img", "HFA")])
def test_pixels_without_data_are_zero_in_images_and_stay_in_masks(tmp_path, suffix, driver, nodata):
    pixels = BANDS.copy()
    pixels[:3, :, 0] = nodata
    found = read_image(write_raster(tmp_path / f"a.{suffix}", pixels, driver, nodata=nodata), channels=2)
    assert np.array_equal(found, np.where(np.arange(20)[:, None, None] < 3, [0, 1], 1) * BANDS)
    mask = np.where(np.arange(20)[:, None] < 3, 255, np.full((20, 30), 1)).astype(np.uint8)
    path = write_raster(tmp_path / f"m.{suffix}", mask, driver, nodata=255)
    assert np.array_equal(read_mask(path), mask)


def test_nan_that_is_not_declared_is_refused(tmp_path):
    pixels = BANDS.copy()
    pixels[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 of 1200 pixel values are NaN"):
        read_image(write_raster(tmp_path / "a.img", pixels, "HFA"), channels=2)


def test_nodata_beyond_the_dtype_changes_nothing(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    tifffile.imwrite(path, pixels, extratags=[(42113, "s", 0, "-9999", True)])
    assert np.array_equal(read_image(path, channels=1)[..., 0], pixels)


@pytest.mark.parametrize("compression", ["ZSTD", "LERC"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_tiff_of_a_compression_that_few_decode_is_read_without_loss(tmp_path, compression, dtype):
    pixels = (BANDS * 50 + 200).astype(dtype)
    path = write_raster(tmp_path / "a.tif", pixels, "GTiff", compress=compression)
    assert np.array_equal(read_image(path, channels=2), pixels)


@pytest.mark.parametrize(("alpha", "dropped"), [("YES", True), ("UNSPECIFIED", False)])
def test_a_fourth_band_is_dropped_only_where_it_is_said_to_be_alpha(tmp_path, alpha, dropped):
    pixels = np.dstack([BANDS, BANDS + 1]).astype(np.float32)
    options = {"compress": "ZSTD", "photometric": "RGB", "ALPHA": alpha}
    path = write_raster(tmp_path / "a.tif", pixels, "GTiff", **options)
    assert np.array_equal(read_image(path, channels=4), pixels)
    if dropped:
        assert np.array_equal(read_image(path), pixels[..., :3])
    else:
        with pytest.raises(DataError, match=r"has 4 channels, expected 3; .*data\.channels=4"):
            read_image(path)


def test_a_mosaic_without_its_part_is_one_line_that_names_both(tmp_path):
    path = write_vrt(tmp_path / "a.vrt", BANDS)
    (tmp_path / "a.part").unlink()
    with pytest.raises(DataError, match=r"^[^\n]*a\.vrt: cannot be decoded: .*a\.part[^\n]*; restore or remove it$"):
        read_image(path, channels=2)


def test_a_palette_gives_colours_of_images_and_indices_of_masks(tmp_path):
    mask = np.arange(600, dtype=np.uint8).reshape(20, 30) % 7
    path = write_raster(tmp_path / "m.img", mask, "HFA")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {value: (value * 20, 5, 200 - value, 255) for value in range(7)})
    assert np.array_equal(read_mask(path), mask)
    assert np.array_equal(read_image(path), np.stack([mask * 20, np.full_like(mask, 5), 200 - mask], axis=2))
