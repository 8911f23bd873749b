import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrain.data.files import inspection
from tests.data.formats.test_folder import SIZE, make_root, open_folder, problem, write_pair

ALL = {"val_fraction": 0.0}


def photo(size=(160, 192)):
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8), (5, 5), 0)


def with_image(root: Path, suffix: str, hurt) -> Path:
    """Write three pairs, and damage the bytes of one image."""
    for name in "abc":
        write_pair(root, name, size=(160, 192))
        (root / f"images/{name}.jpg").unlink()
        Image.fromarray(photo()).save(root / f"images/{name}.{suffix}")
    path = root / f"images/b.{suffix}"
    path.write_bytes(hurt(path.read_bytes()))
    return path


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "second half zero": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "middle third zero": lambda data: data[: len(data) // 3] + bytes(len(data) // 3) + data[len(data) // 3 * 2 :],
}


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [*((suffix, damage) for suffix in ("jpg", "png") for damage in DAMAGE), ("webp", "cut"), ("bmp", "cut")],
)
def test_a_damaged_file_is_named_before_training(tmp_path, capfd, suffix, damage):
    path = with_image(tmp_path, suffix, DAMAGE[damage])
    message = problem(tmp_path, **ALL)
    assert message.startswith(f"{path}: cannot be decoded: ")
    assert message.endswith("; restore or remove it, or leave it out with data.on_bad=skip")
    assert "\n" not in message
    assert capfd.readouterr().err == ""


def test_bytes_after_the_end_of_a_jpeg_are_no_damage(tmp_path):
    with_image(tmp_path, "jpg", lambda data: data + b"\0\0\0")
    open_folder(tmp_path, **ALL).verify()


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_whole_jpegs_of_every_kind_pass(tmp_path, mode, options):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    Image.fromarray(photo(SIZE)).convert(mode).save(tmp_path / "images/a.jpg", **options)
    open_folder(tmp_path, **ALL).verify()


def write_tiffs(root: Path, *images: np.ndarray) -> None:
    for number, pixels in enumerate(images):
        write_pair(root, f"i{number}")
        (root / f"images/i{number}.jpg").unlink()
        tifffile.imwrite(root / f"images/i{number}.tif", pixels[..., ::-1])


GRAY = np.ones((*SIZE, 3), np.float32) / 2


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_that_holds_nan_is_named_before_training(tmp_path, split):
    bad = GRAY.copy()
    bad[0, 0] = np.nan
    write_tiffs(tmp_path, *[bad] * 6)
    assert "3 of 2160 pixel values are NaN or infinite" in problem(tmp_path, split=split)


def test_one_file_of_other_channels_is_the_odd_one(tmp_path):
    write_tiffs(tmp_path, *[np.zeros((*SIZE, 4), np.uint8)] * 3, np.zeros((*SIZE, 3), np.uint8))
    message = problem(tmp_path, channels=4, **ALL)
    assert message == (
        f"{tmp_path}/images/i3.tif: the image has 3 channels, expected 4; convert or remove it (1 of 4 images are so)"
    )


def test_where_most_files_have_other_channels_the_key_is_the_odd_one(tmp_path):
    make_root(tmp_path, count=3)
    assert problem(tmp_path, channels=4, **ALL).endswith("train with data.channels=3 (3 of 3 images are so)")


def test_one_file_of_another_type_of_number_is_named(tmp_path):
    write_tiffs(tmp_path, *[GRAY] * 3, (GRAY * 255).astype(np.uint8))
    assert "i3.tif: holds uint8, expected float32 as in 3 others; convert or remove it" in problem(tmp_path, **ALL)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (GRAY, None),
        (GRAY * 255, "pixels are float32 from 127.5 to 127.5, but the model takes 0 to 1"),
        (-GRAY, "pixels are float32 from -0.5 to -0.5"),
        ((GRAY * 4095).astype(np.uint16), "pixels are uint16 from 2047 to 2047, but the model takes 0 to 65535"),
        ((GRAY * 65535).astype(np.uint16), None),
    ],
)
def test_a_range_that_is_not_the_one_of_the_type_is_mentioned(tmp_path, caplog, pixels, said):
    write_tiffs(tmp_path, *[pixels] * 3)
    open_folder(tmp_path, **ALL).verify()
    assert (said in caplog.text) if said else ("pixels are" not in caplog.text)


def indexed(path: Path, indices, colours):
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)


def test_palettes_that_give_an_index_different_colours_are_refused(tmp_path):
    make_root(tmp_path, count=3)
    mask = np.resize([0, 1], SIZE)
    for number, colours in enumerate([[(0, 0, 0), (128, 0, 0)], [(0, 0, 0), (128, 0, 0)], [(0, 0, 0), (0, 128, 0)]]):
        indexed(tmp_path / f"masks/cat_{number}.png", mask, colours)
    message = problem(tmp_path, **ALL)
    assert message.startswith(
        f"{tmp_path}/masks/cat_2.png: 1 is the colour 0-128-0 in its palette, 128-0-0 in that of cat_0.png"
    )
    assert "'data.class_map={0-0-0: ?, 0-128-0: ?, 128-0-0: ?}'" in message


def test_indices_that_no_pixel_has_may_differ_in_colour(tmp_path):
    make_root(tmp_path, count=2)
    mask = np.resize([0, 1], SIZE)
    for number, unused in enumerate([(1, 2, 3), (4, 5, 6)]):
        indexed(tmp_path / f"masks/cat_{number}.png", mask, [(0, 0, 0), (128, 0, 0), unused])
    open_folder(tmp_path, **ALL).verify()


def test_files_that_did_not_change_are_not_read_again(tmp_path, monkeypatch):
    make_root(tmp_path, count=4)
    open_folder(tmp_path, **ALL).verify()
    looked = []
    look = inspection.look_into_image
    monkeypatch.setattr(inspection, "look_into_image", lambda path, **_: looked.append(path.name) or look(path))
    open_folder(tmp_path, **ALL).verify()
    assert looked == []
    Image.fromarray(photo(SIZE)).save(tmp_path / "images/cat_2.jpg")
    open_folder(tmp_path, **ALL).verify()
    assert looked == ["cat_2.jpg"]


def test_images_and_masks_above_the_limit_are_named_though_they_are_remembered(tmp_path):
    make_root(tmp_path, count=2)  # of 24 x 30 = 720 pixels
    open_folder(tmp_path, max_pixels=720, **ALL).verify()
    lines = problem(tmp_path, max_pixels=719, **ALL).splitlines()
    assert len(lines) == 4
    assert all(line.endswith("cut it into tiles, or set data.max_pixels=720") for line in lines)


def test_what_is_remembered_gives_the_same_answers(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    make_root(tmp_path, count=3)
    for _ in range(2):
        caplog.clear()
        open_folder(tmp_path, classes=("background", "cat", "dog"), **ALL).verify()
        assert "no mask for train holds dog" in caplog.text
        assert "mask holds 0 and 1, expected 0 (background)" in problem(tmp_path, class_map={0: 0}, **ALL)


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {}), ("webp", {"quality": 80})])
def test_masks_saved_lossy_are_named_though_all_their_values_are_valid(tmp_path, caplog, suffix, options):
    for name in "abc":
        write_pair(tmp_path, name)
    for name in "ab":
        (tmp_path / f"masks/{name}.png").unlink()
        Image.new("L", SIZE[::-1], 0).save(tmp_path / f"masks/{name}.{suffix}", **options)
    open_folder(tmp_path, **ALL).verify()
    (line,) = [record.getMessage() for record in caplog.records if "lossy" in record.getMessage()]
    assert line.startswith(f"{tmp_path}/masks/a.{suffix}: 2 of 3 masks are JPEG or lossy WebP")
    assert "save masks as PNG" in line


def test_masks_saved_lossless_are_not_named(tmp_path, caplog):
    for name in "abc":
        write_pair(tmp_path, name)
    (tmp_path / "masks/a.png").unlink()
    Image.new("L", SIZE[::-1], 1).save(tmp_path / "masks/a.webp", lossless=True)
    open_folder(tmp_path, **ALL).verify()
    assert "lossy" not in caplog.text


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_and_masks_that_are_swapped_are_told_so(tmp_path, suffix):
    for name in "abc":
        write_pair(tmp_path, name)
        (tmp_path / f"images/{name}.jpg").unlink()
        Image.fromarray(photo(SIZE)).save(tmp_path / f"images/{name}.{suffix}")
    message = problem(tmp_path, images="masks", masks="images", **ALL)
    assert message.startswith(f"{tmp_path}/images/a.{suffix}: the masks hold many colours as photos do")
    assert "the images few values (0, 1) as masks do; are data.images and data.masks swapped?" in message
    assert "\n" not in message
    open_folder(tmp_path, **ALL).verify()


def test_an_outcome_is_remembered_until_a_file_or_an_option_changes(tmp_path, monkeypatch):
    for name in "abc":
        write_pair(tmp_path, name, size=(160, 192))
    looks = []
    real = inspection.look_into_image
    monkeypatch.setattr(
        inspection, "look_into_image", lambda path, **options: looks.append(path) or real(path, **options)
    )
    monkeypatch.setattr(inspection, "recall", lambda *_: None)  # the facts of each file are not remembered here
    for _ in range(2):
        open_folder(tmp_path, **ALL).verify()
    assert len(looks) == 3, "the second look asks for no file's content"
    write_pair(tmp_path, "b", size=(80, 96))
    open_folder(tmp_path, **ALL).verify()
    assert len(looks) == 6
    (tmp_path / "images/b.jpg").write_bytes(b"damaged")
    assert "b.jpg" in problem(tmp_path, **ALL)
    assert "b.jpg" in problem(tmp_path, **ALL), "an outcome with problems is not remembered"


def test_warnings_are_given_at_every_start(tmp_path, caplog):
    write_pair(tmp_path, "a", size=(160, 192))
    (tmp_path / "images/a.jpg").unlink()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.full((160, 192, 3), 900, np.uint16))
    for _ in range(2):
        caplog.clear()
        open_folder(tmp_path, **ALL).verify()
        assert "data.value_range=[0,1023]" in caplog.text
