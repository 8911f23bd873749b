import numpy as np
import pytest
from PIL import Image, ImageOps

from segtrain.data.files.images import image_size, read_image, read_mask
from segtrain.data.files.orientation import turn, turn_back
from segtrain.data.formats.folder import Folder

STORED = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3) * 40
UPRIGHT = {
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],  # mirrored
    3: [[5, 4, 3], [2, 1, 0]],  # half a turn
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[3, 0], [4, 1], [5, 2]],  # a quarter clockwise
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[2, 5], [1, 4], [0, 3]],
}
"""What stands where after each orientation, from the table of EXIF 2.3, 4.6.4."""


def with_orientation(path, pixels, value, **options):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("value", UPRIGHT)
def test_pixels_are_turned_as_the_standard_says(value):
    assert np.array_equal(turn(STORED, value), np.array(UPRIGHT[value]) * 40)
    assert np.array_equal(turn_back(turn(STORED, value), value), STORED)


@pytest.mark.parametrize("value", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_photos_come_upright_from_every_format(tmp_path, suffix, value):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    options = {"webp": {"lossless": True}}.get(suffix, {})
    path = with_orientation(tmp_path / f"a.{suffix}", pixels, value, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = read_image(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (3 if suffix == "jpg" else 0)
    assert image_size(path) == expected.shape[:2]


def test_a_compressed_tiff_comes_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    path = with_orientation(tmp_path / "a.tif", pixels, 6, compression="tiff_lzw")
    assert np.array_equal(read_image(path), np.rot90(pixels, -1))


def test_masks_are_turned_by_an_orientation_of_their_own(tmp_path):
    path = with_orientation(tmp_path / "m.png", STORED, 6)
    assert np.array_equal(read_mask(path), np.array(UPRIGHT[6]) * 40)


@pytest.mark.parametrize("value", range(2, 9))
def test_masks_that_are_upright_lie_on_their_photos(tmp_path, value):
    mask = np.zeros((24, 24 if value == 6 else 40), np.uint8)  # a square photo tells nothing by its size
    mask[3:9, 4:20] = 1
    photo = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        with_orientation(tmp_path / f"images/{name}.png", turn_back(photo, value), value)
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    source = Folder(split="train", root=str(tmp_path), classes=["thing"])
    source.verify()
    assert np.array_equal(source[0].image[..., 0] > 0, source[0].mask == 1)


def test_a_mask_of_the_size_of_the_stored_pixels_lies_on_these(tmp_path):
    mask = np.zeros((24, 40), np.uint8)
    mask[3:9, 4:20] = 1
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        with_orientation(tmp_path / f"images/{name}.png", np.repeat(mask[..., None], 3, axis=2), 6)
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    source = Folder(split="train", root=str(tmp_path), classes=["thing"])
    source.verify()
    assert np.array_equal(source[0].image[..., 0], source[0].mask)


def test_damaged_exif_data_is_passed_over(tmp_path):
    path = with_orientation(tmp_path / "a.jpg", np.zeros((24, 40, 3), np.uint8), 6)
    data = path.read_bytes()
    start = data.index(b"Exif\0\0") + 6
    path.write_bytes(data[:start] + b"XX" + data[start + 2 :])
    assert read_image(path).shape == (24, 40, 3)
