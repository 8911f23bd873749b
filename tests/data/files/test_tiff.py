import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrain.data.files.images import read_image, read_mask
from segtrain.errors import DataError

BANDS = np.random.default_rng(0).integers(0, 4096, (24, 40, 6), dtype=np.uint16)
MASK = np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 3
SGILOG = 34676  # the number of this compression in TIFF


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("apart", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [2, 3, 4, 6])
def test_all_bands_are_read_whatever_they_mean(tmp_path, bands, dtype, apart):
    pixels = (BANDS[..., :bands] // 16).astype(dtype)
    stored = pixels if apart == "contig" else pixels.transpose(2, 0, 1)
    path = write(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=apart)
    found = read_image(path, channels=bands)
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(("bands", "channels"), [(2, 3), (4, 3), (6, 3), (4, 1), (2, 1)])
def test_bands_are_not_taken_for_colours(tmp_path, bands, channels):
    path = write(tmp_path / "a.tif", BANDS[..., :bands], photometric="minisblack", planarconfig="contig")
    with pytest.raises(
        DataError, match=f"has {bands} channels, expected {channels}; convert it, or train with data.channels={bands}"
    ):
        read_image(path, channels=channels)


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
def test_alpha_beside_rgb_is_dropped_where_three_are_asked_for(tmp_path, alpha):
    path = write(tmp_path / "a.tif", BANDS[..., :4], photometric="rgb", planarconfig="contig", extrasamples=[alpha])
    assert np.array_equal(read_image(path), BANDS[..., :3])
    assert np.array_equal(read_image(path, channels=4), BANDS[..., :4])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_band_beside_rgb_that_is_not_said_to_be_alpha_is_not_dropped(tmp_path, dtype):
    pixels = (BANDS[..., :4] // 16).astype(dtype)
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="contig", extrasamples=["unspecified"])
    assert np.array_equal(read_image(path, channels=4), pixels)
    with pytest.raises(DataError, match=r"has 4 channels, expected 3; convert it, or train with data\.channels=4"):
        read_image(path)


def test_pages_become_channels_where_so_many_are_asked_for(tmp_path):
    path = write(tmp_path / "a.tif", BANDS.transpose(2, 0, 1), photometric="minisblack")
    assert np.array_equal(read_image(path, channels=6), BANDS)
    with pytest.raises(DataError, match=r"has 6 channels, expected 3; .*data\.channels=6$"):
        read_image(path)


def test_pages_of_different_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(BANDS[..., 0])
        file.write(BANDS[:9, :9, 0])
    with pytest.raises(DataError, match=r"holds 2 images \(24x40, 9x9\), expected one"):
        read_image(tmp_path / "a.tif")


def test_a_smaller_copy_beside_the_image_does_no_harm(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(BANDS[..., 0])
        file.write(BANDS[::2, ::2, 0], subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], BANDS[..., 0])


def test_a_mask_of_two_pages_is_refused(tmp_path):
    path = write(tmp_path / "m.tif", np.stack([MASK, MASK]), photometric="minisblack")
    with pytest.raises(DataError, match=r"m\.tif: the mask holds 2 channels or pages, expected one"):
        read_mask(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_compressed_files_come_as_they_were_written(tmp_path, mode, compression):
    pixels = np.asarray(Image.fromarray((BANDS[..., :3] // 16).astype(np.uint8)).convert(mode))
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    assert np.array_equal(read_image(tmp_path / "a.tif", channels=channels).squeeze(), pixels)


def test_colours_of_float32_as_opencv_4_writes_them_are_read(tmp_path):
    colours = np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)
    cv2.imwrite(str(tmp_path / "x.tif"), colours[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, SGILOG])
    pixels = read_image(tmp_path / "x.tif", channels=3)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, colours, atol=0.02)  # it keeps about two digits


def test_what_only_another_package_decodes_is_refused_with_its_name(tmp_path, monkeypatch):
    if tifffile.TIFF.DECOMPRESSORS.get(tifffile.COMPRESSION.JPEG2000) is not None:
        pytest.skip("imagecodecs is here, and decodes it")
    path = write(tmp_path / "a.tif", BANDS[..., 0])
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["Compression"].valueoffset
    data[at : at + 2] = (34712).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be decoded \(JPEG2000: .*; run pip install imagecodecs"):
        read_image(path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(DataError, match=r"or save it uncompressed, or pip install 'segtrain\[geo\]'$"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float16, np.float64])
def test_other_numbers_become_floats_of_the_same_value(tmp_path, dtype):
    pixels = (BANDS[..., 0] // 64).astype(dtype) - dtype(0 if dtype == np.uint32 else 10)
    image = read_image(write(tmp_path / "a.tif", pixels), channels=1)
    assert image.dtype == np.float32
    assert np.array_equal(image[..., 0], pixels)


def test_rgb_of_float64_is_read(tmp_path):
    pixels = BANDS[..., :3].astype(np.float64)
    cv2.imwrite(str(tmp_path / "a.tif"), pixels[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_numbers_that_floats_cannot_hold_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.full((8, 8), 2**24 + 1, np.uint32))
    with pytest.raises(DataError, match="holds uint32 beyond 16777216, which float32 cannot hold"):
        read_image(path, channels=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_no_number_is_named(tmp_path, bad):
    pixels = np.zeros((8, 8, 3), np.float32)
    pixels[2, 3, 1] = bad
    with pytest.raises(DataError, match=r"a\.tif: 1 of 192 pixel values are NaN or infinite; fill them in"):
        read_image(write(tmp_path / "a.tif", pixels, photometric="rgb"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_masks_of_whole_numbers_are_read_whatever_their_type(tmp_path, dtype):
    mask = read_mask(write(tmp_path / "m.tif", MASK.astype(dtype)))
    assert np.array_equal(mask, MASK)
    assert mask.dtype == np.uint8


@pytest.mark.parametrize(("mask", "found"), [(MASK - 0.5, "from -0.5 to 1.5"), (MASK / 2, "from 0.0 to 1.0")])
def test_masks_of_fractions_are_refused(tmp_path, mask, found):
    with pytest.raises(DataError, match=f"the mask holds float64 {found}, expected whole numbers"):
        read_mask(write(tmp_path / "m.tif", mask))


def test_white_is_zero_where_the_file_says_so(tmp_path):
    path = write(tmp_path / "a.tif", MASK, photometric="miniswhite")
    assert np.array_equal(read_image(path, channels=1)[..., 0], 255 - MASK)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_damage_in_the_middle_or_a_missing_end_is_named(tmp_path, compression):
    path = write(tmp_path / "a.tif", BANDS[..., 0], compression=compression)
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :] if compression else data[: 2 * third])
    with pytest.raises(DataError, match=r"a\.tif: .*; restore or remove it"):
        read_image(path, channels=1)
