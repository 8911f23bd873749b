import sys

import numpy as np
import pytest
import tifffile

from segtrain.data.files.images import image_size, read_image, read_mask
from segtrain.data.files.inspection import look_into_image, look_into_mask
from segtrain.data.files.walk import SUFFIXES
from segtrain.errors import DataError
from tests.data.files.files_of_kinds import write_dicom, write_jp2, write_photo, write_raster, write_vrt


def tiff(path, pixels):
    photometric = "rgb" if pixels.ndim == 3 and pixels.shape[2] == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig="contig" if pixels.ndim == 3 else None)
    return path


def npy(path, pixels):
    np.save(path, pixels)
    return path


def npz(path, pixels):
    np.savez_compressed(path, pixels)
    return path


WRITERS = {
    **dict.fromkeys(("png", "bmp", "gif"), write_photo),
    "webp": lambda path, pixels: write_photo(path, pixels, lossless=True, exact=True),
    **dict.fromkeys(("tif", "tiff"), tiff),
    **dict.fromkeys(("jp2", "j2k"), write_jp2),
    "npy": npy,
    "npz": npz,
    "dcm": write_dicom,
    "vrt": write_vrt,
    "img": lambda path, pixels: write_raster(path, pixels, "HFA"),
}
SCENES = {"uint8": (1, 2, 3, 4, 6), "uint16": (1, 2, 3, 4, 6), "float32": (1, 3, 6)}
PICTURES = {"uint8": (1, 3, 4), "uint16": (1, 3, 4)}
HOLDS = {  # dtype and numbers of bands that each kind of file has without loss
    "bmp": {"uint8": (1, 3)},
    "webp": {"uint8": (3, 4)},
    **dict.fromkeys(("tif", "tiff", "npy", "npz"), SCENES),
    **dict.fromkeys(("png", "jp2", "j2k"), PICTURES),
    "dcm": {"uint8": (1, 3), "uint16": (1,)},
    **dict.fromkeys(("vrt", "img"), SCENES),
}
TABLE = [(kind, dtype, bands) for kind, held in HOLDS.items() for dtype, some in held.items() for bands in some]
MASKS = [(kind, dtype) for kind, held in HOLDS.items() for dtype in ("uint8", "uint16") if 1 in held.get(dtype, ())]


def made(dtype, bands):
    """Random pixels ``(40, 60)`` or ``(40, 60, bands)`` that fill the dtype."""
    rng = np.random.default_rng(0)
    shape = (40, 60) if bands == 1 else (40, 60, bands)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def test_the_table_has_every_suffix_that_is_listed():
    lossy_or_palette = {".jpg", ".jpeg", ".gif"}  # in test_images.py
    assert {f".{kind}" for kind in HOLDS} | lossy_or_palette == set(SUFFIXES)


@pytest.mark.parametrize(("kind", "dtype", "bands"), TABLE)
def test_an_image_is_read_as_it_was_written(tmp_path, kind, dtype, bands):
    pixels = made(dtype, bands)
    path = WRITERS[kind](tmp_path / f"a.{kind}", pixels)
    found = read_image(path, channels=bands)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels.reshape(40, 60, bands))
    assert image_size(path, channels=bands) == (40, 60)
    facts = look_into_image(path, channels=bands)
    assert (facts.height, facts.width, facts.channels, facts.dtype) == (40, 60, bands, dtype)
    if dtype != "uint8":
        assert (facts.low, facts.high) == (pixels.min(), pixels.max())


@pytest.mark.parametrize(("kind", "dtype"), MASKS)
def test_a_mask_is_read_as_it_was_written(tmp_path, kind, dtype):
    mask = made(dtype, 1)
    path = WRITERS[kind](tmp_path / f"m.{kind}", mask)
    found = read_mask(path)
    assert found.dtype == mask.dtype
    assert np.array_equal(found, mask)
    values, counts = np.unique(mask, return_counts=True)
    assert look_into_mask(path).counts == dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("kind", [kind for kind, held in HOLDS.items() if 3 in held["uint8"]])
def test_a_mask_of_colours_is_read_by_colour(tmp_path, kind):
    colours = made("uint8", 3)
    found = read_mask(WRITERS[kind](tmp_path / f"m.{kind}", colours), by_colour=True)
    assert np.array_equal(found, colours.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32))


@pytest.mark.parametrize("kind", [*HOLDS, "jpg", "gif"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow and pydicom, about the damage
def test_a_truncated_file_of_any_kind_is_one_line_that_names_it(tmp_path, kind, kept):
    path = WRITERS.get(kind, write_photo)(tmp_path / f"cat.{kind}", np.tile(made("uint8", 3), (10, 10, 1)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    for read in (read_image, lambda file: read_mask(file, by_colour=True), look_into_image):
        with pytest.raises(DataError, match=rf"cat\.{kind}: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)


@pytest.mark.parametrize("kind", [*HOLDS, "jpg", "gif"])
def test_a_file_of_any_kind_with_other_content_is_one_line_that_names_it(tmp_path, kind):
    path = tmp_path / f"cat.{kind}"
    path.write_bytes(b"hello, I am no image")
    with pytest.raises(DataError, match=rf"cat\.{kind}: .*;") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", list(HOLDS))
def test_more_pixels_than_allowed_are_refused_in_any_kind(tmp_path, kind):
    path = WRITERS[kind](tmp_path / f"a.{kind}", made("uint8", 3))
    with pytest.raises(DataError, match=r"60x40 pixels, expected at most 2399 .*data\.max_pixels=2400$"):
        read_image(path, max_pixels=2399)


@pytest.mark.parametrize(("kind", "package", "extra"), [("dcm", "pydicom", "dicom"), ("vrt", "rasterio", "geo")])
def test_without_its_package_a_file_is_refused_with_the_command_that_installs_it(
    tmp_path, monkeypatch, kind, package, extra
):
    path = WRITERS[kind](tmp_path / f"a.{kind}", made("uint8", 3))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"a\.{kind}: .*needs {package}; run pip install 'segtrain\[{extra}\]'$"):
        read_image(path)
