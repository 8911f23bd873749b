"""YOLO's polygons: where images and labels lie, and what is no polygon."""

import logging

import numpy as np
import pytest

from segtrain.data.formats.yolo import Yolo, labels_of
from segtrain.errors import DataError
from tests.data.layouts import SIZE
from tests.data.tool_layouts import CLASSES, polygons_txt, scenes, truth, write_photo, yolo


def opened(root, split="all", **options):
    return Yolo(split=split, root=str(root), **options)


def place(root, folder, seed, text=None):
    """An image below a folder ``images``, and its polygons."""
    image = root / folder / f"s{seed}.png"
    write_photo(image, seed)
    labels = root / folder.replace("images", "labels") / f"s{seed}.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text(polygons_txt(seed) if text is None else text)
    return labels


def test_the_masks_are_those_that_were_drawn(tmp_path):
    yolo(tmp_path)
    seeds = {f"{split}/{name}": seed for split, name, seed in scenes()}
    source = opened(tmp_path)
    source.verify()
    assert source.class_names == ("background", *CLASSES)
    assert set(source.ids) == set(seeds)
    for index, name in enumerate(source.ids):
        assert (source[index].mask == truth(seeds[name])).all()
    assert [len(opened(tmp_path, split)) for split in ("train", "val", "test")] == [6, 3, 2]
    assert Yolo.splits_in({"root": str(tmp_path)}) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        (
            "train: ../train/images\nval: ../valid/images\nnc: 3\nnames: ['cat', 'dog', 'cow']",
            ("train/images", "valid/images"),
        ),
        (
            "path: {root}\ntrain: [images/a, images/b]\nval: images/c\nnames: [cat, dog, cow]",
            ("images/a", "images/b", "images/c"),
        ),
        ("train: train.txt\nval: val.txt\nnames: [cat, dog, cow]", ("images", "other/images")),
    ],
    ids=["as Roboflow writes it", "several folders", "lists"],
)
def test_folders_and_lists_are_found_in_every_way_they_are_written(text, folders, tmp_path):
    for number, folder in enumerate(folders):
        place(tmp_path, folder, number)
    (tmp_path / "train.txt").write_text("./images/s0.png\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/other/images/s1.png\n")
    (tmp_path / "data.yaml").write_text(text.format(root=tmp_path))
    train, val = opened(tmp_path, "train"), opened(tmp_path, "val")
    assert [len(train), len(val)] == [len(folders) - 1, 1]
    assert (val.mask(0) == truth(len(folders) - 1)).all()


def test_a_folder_with_the_names_alone_is_divided(tmp_path):
    for seed in range(10):
        place(tmp_path, "images", seed)
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    assert [len(opened(tmp_path, split)) for split in ("train", "val")] == [9, 1]
    assert Yolo.splits_in({"root": str(tmp_path)}) is None


def test_an_image_without_polygons_is_background_unless_all_are(tmp_path):
    place(tmp_path, "images", 0)
    place(tmp_path, "images", 1).unlink()
    place(tmp_path, "images", 2, text="\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    source = opened(tmp_path)
    source.verify()
    assert [bool(source.mask(index).any()) for index in range(3)] == [True, False, False]
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no file of polygons there, nor for any other image"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 0.2 0.2", "holds a box, expected a polygon"),
        ("0 0.1 0.1 0.2 0.2 0.3", "5 numbers, expected pairs"),
        ("0 0.1 0.1", "a polygon of 1 points"),
        ("0", "a polygon of 0 points"),
        ("3 0.1 0.1 0.2 0.1 0.2 0.2", "class 3, expected 0 to 2"),
        ("0.5 0.1 0.1 0.2 0.1 0.2 0.2", "class 0.5, expected 0 to 2"),
        ("cat 0.1 0.1 0.2 0.1 0.2 0.2", "cat 0.1 0.1 ... are no numbers"),
        ("0 10 10 20 10 20 20", "coordinates from 10 to 20, expected 0 to 1"),
        ("0 nan 0.1 0.2 0.1 0.2 0.2", "a polygon with NaN or infinite"),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1", "covers no pixel"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_drawn(line, problem, tmp_path, caplog):
    labels = place(tmp_path, "images", 0, text=polygons_txt(0) + line)
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    with pytest.raises(DataError, match=f"{labels.name}: line 4: {problem}"):
        opened(tmp_path).verify()
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, on_bad="skip")
        source.verify()
    assert "1 annotations are left out" in caplog.text
    assert (source.mask(0) == truth(0)).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("names: [", "cannot be read"),
        ("train: images", "no names"),
        ("names: {1: cat}\ntrain: images", "no names"),
        ("names: [cat]", "no train and no val"),
        ("names: [cat]\ntrain: photos", "names photos, which is neither in"),
    ],
)
def test_a_description_that_says_too_little_is_refused(text, problem, tmp_path):
    place(tmp_path, "images", 0)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=problem):
        opened(tmp_path)


def test_two_descriptions_are_to_be_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"no data.yaml and no classes.txt"):
        opened(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("names: [cat]")
    with pytest.raises(DataError, match=r"data.description=a.yaml"):
        opened(tmp_path)


def test_labels_lie_beside_the_last_folder_of_images():
    assert labels_of("/images/x/images/train/a.b.jpg") == "/images/x/labels/train/a.b.txt"
    assert labels_of("/photos/a.jpg") == "/photos/a.txt"


def test_an_unreadable_file_is_that_of_one_image(tmp_path):
    place(tmp_path, "images", 0)
    place(tmp_path, "images", 1).write_bytes(b"\xff\xfe\x00")
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    with pytest.raises(DataError, match=r"s1.txt: cannot be read"):
        opened(tmp_path).verify()
    source = opened(tmp_path, on_bad="skip")
    source.verify()
    assert source.ids == ("s0",)
    assert source.mask(0).shape == SIZE
    assert np.unique(source.mask(0)).size == 4
