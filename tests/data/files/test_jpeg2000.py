import numpy as np
import pytest

from segtrain.data.files.images import read_image, read_mask
from segtrain.data.files.jpeg2000 import header_of
from tests.data.files.files_of_kinds import write_jp2, write_raster

RNG = np.random.default_rng(0)
LOSSLESS = {"QUALITY": 100, "REVERSIBLE": "YES"}


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 15, 16])
def test_values_of_any_depth_are_read_as_they_are_stored_and_not_scaled(tmp_path, bits):
    mask = RNG.integers(0, 2**bits, (40, 60)).astype(np.uint8 if bits <= 8 else np.uint16)
    path = write_raster(tmp_path / "m.jp2", mask, "JP2OpenJPEG", NBITS=bits, **LOSSLESS)
    assert header_of(path.read_bytes()).bits == bits
    assert np.array_equal(read_mask(path), mask)
    assert np.array_equal(read_image(path, channels=1)[..., 0], mask)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 7])
def test_any_number_of_bands_is_read_without_loss(tmp_path, dtype, bands):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (40, 50, bands), dtype=dtype, endpoint=True)
    path = write_raster(tmp_path / "a.jp2", pixels, "JP2OpenJPEG", YCC420="NO", **LOSSLESS)
    found = read_image(path, channels=bands)
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


def test_signed_values_are_kept(tmp_path):
    pixels = RNG.integers(-2000, 2000, (40, 50)).astype(np.int16)
    found = read_image(write_raster(tmp_path / "a.jp2", pixels, "JP2OpenJPEG", **LOSSLESS), channels=1)
    assert np.array_equal(found[..., 0], pixels)


def test_gray_and_colours_are_brought_to_the_channels_asked_for(tmp_path):
    gray = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
    assert np.array_equal(read_image(write_jp2(tmp_path / "g.jp2", gray)), np.repeat(gray[..., None], 3, 2))
    rgba = RNG.integers(0, 256, (40, 60, 4), dtype=np.uint8)
    assert np.array_equal(read_image(write_jp2(tmp_path / "a.jp2", rgba)), rgba[..., :3])
