"""`segtrain preview` draws what training sees, and where the mask of each picture lies."""

import numpy as np
import pytest
from PIL import Image

from segtrain.cli import main
from segtrain.data.palette import palette
from tests.data.doctor import copies

SIDE, GAP, CAPTION = 240, 4, 14  # of a panel, as segtrain.drawing.pictures lays them out


def preview(folder, *words):
    file = folder / "made" / "here.png"
    assert main(["preview", f"output={file}", *words]) == 0
    return np.asarray(Image.open(file))


def panels(picture, rows, columns):
    """Cut the picture below its legend into panels, without captions."""
    height = SIDE + CAPTION + GAP
    below = picture[len(picture) - rows * height :]
    return [
        [below[r * height + CAPTION :][:SIDE, c * (SIDE + GAP) :][:, :SIDE] for c in range(columns)]
        for r in range(rows)
    ]


def black_images(folder, *, overlap=False):
    """Black images with class 1 at the upper left, so that only the mask can be seen."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32] = 1
    for number in range(4):
        for place, pixels in (("images", np.zeros((64, 64, 3), np.uint8)), ("masks/cat" if overlap else "masks", mask)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    if overlap:
        (folder / "masks/dog").mkdir()
        for number in range(4):
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "masks/dog" / f"{number}.png")


@pytest.mark.parametrize("overlap", [False, True])
def test_masks_lie_over_their_images_before_and_after_augmentation(tmp_path, overlap):
    black_images(tmp_path, overlap=overlap)
    classes = "data.classes=[cat,dog]" if overlap else "data.classes=[ground,cat,dog]"
    flip = "augment.transforms=[{_target_: albumentations.HorizontalFlip, p: 1.0}]"
    data = ["data=folder", f"data.root={tmp_path}", classes, "data.image_size=64", "data.val_fraction=0.25"]
    mode = ["data.mode=multilabel"] if overlap else []
    picture = preview(tmp_path, *data, *mode, "augment=light", flip, "count=2", "times=1")
    colours = np.array(palette(3, has_background=overlap))
    for original, flipped in panels(picture, 2, 2):
        assert np.abs(original[40, 40].astype(int) - flipped[40, 200]).max() <= 1
        assert np.abs(original[40, 200].astype(int) - flipped[40, 40]).max() <= 1
        assert np.abs(original[40, 40] - colours[1] / 2).max() <= 1  # half over black


def test_it_shows_what_training_sees_in_these_epochs(tmp_path):
    words = ("count=2", "augment=heavy")
    whole = panels(preview(tmp_path, *words, "times=3"), 2, 4)
    later = panels(preview(tmp_path, *words, "times=1", "epoch=2"), 2, 2)
    for some, others in zip(whole, later, strict=True):
        assert np.array_equal(some[0], others[0])
        assert np.array_equal(some[3], others[1])
        assert not np.array_equal(some[1], some[2])


def test_masks_without_labels_are_answered_as_before_a_training(tmp_path, capsys):
    words = copies.make_binary(tmp_path / "data", on=255)
    assert main(["preview", f"output={tmp_path}/a.png", *words]) == 2
    assert "data.class_map={0: 0, 255: 1}" in capsys.readouterr().err


def test_only_png_files_are_written(tmp_path, capsys):
    assert main(["preview", f"output={tmp_path}/a.jpg"]) == 2
    assert "a.jpg: expected the name of a PNG file; write output=preview.png" in capsys.readouterr().err


def test_its_keys_and_those_of_training_are_one_config(capsys):
    assert main(["preview", "times=2", "data.image_size=32", "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert "times: 2\n" in shown
    assert "  image_size: 32\n" in shown


def test_a_key_that_neither_has_is_refused(capsys):
    assert main(["preview", "tims=2"]) == 2
    assert "tims: unknown key" in capsys.readouterr().err
