"""labelme's JSON files: every shape with an area is drawn, and what is wrong in one file is named."""

import json
import logging

import numpy as np
import pytest

from segtrain.data.formats.labelme import Labelme
from segtrain.errors import DataError
from tests.data.layouts import SIZE
from tests.data.tool_layouts import CLASSES, assert_drawn, labelme, labelme_json, scenes, truth, write_photo


def opened(root, split="all", **options):
    return Labelme(split=split, root=str(root), **options)


def place(root, name="a", seed=0, **changes):
    """An image and its JSON file with some changes."""
    write_photo(root / f"{name}.jpg", seed)
    path = root / f"{name}.json"
    path.write_text(json.dumps({**labelme_json(name, seed), **changes}))
    return path


def shape(kind, points, label="cat", **more):
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, **more}


def test_the_masks_are_those_that_were_drawn(tmp_path, caplog):
    labelme(tmp_path)
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path)
    assert "shapes without an area are left out: 11 point" in caplog.text
    source.verify()
    assert source.class_names == ("background", *sorted(CLASSES))
    seeds = {f"{split}/{name}": seed for split, name, seed in scenes()}
    assert_drawn(source, seeds)
    assert [len(opened(tmp_path, split)) for split in ("train", "val", "test")] == [6, 3, 2]
    assert Labelme.splits_in({"root": str(tmp_path)}) == {"train", "val", "test"}


def test_a_list_of_labels_gives_names_and_order_and_others_are_bad(tmp_path):
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncow\ncat\ndog\n")
    place(tmp_path)
    source = opened(tmp_path)
    source.verify()
    assert source.class_names == ("background", "cow", "cat", "dog")
    (tmp_path / "labels.txt").write_text("cow\ncat\n")
    with pytest.raises(DataError, match=r"a.json: shape \d \(dog\): the label is not in the list of labels"):
        opened(tmp_path).verify()


def test_special_labels_do_not_count_or_are_background(tmp_path):
    shapes = [
        shape("rectangle", [[0, 0], [8, 8]]),
        shape("rectangle", [[0, 0], [4, 4]], "__ignore__"),
        shape("rectangle", [[4, 4], [8, 8]], "_background_"),
    ]
    place(tmp_path, shapes=shapes)
    source = opened(tmp_path)
    assert source.class_names == ("cat",)
    assert source.mask(0)[[0, 5, 0], [0, 5, 5]].tolist() == [255, 0, 1]


def test_a_circle_is_given_by_its_center_and_a_point_on_it(tmp_path):
    place(tmp_path, shapes=[shape("circle", [[16, 12], [16, 4]])])
    mask = opened(tmp_path).mask(0)
    assert mask.sum() == pytest.approx(np.pi * 64, rel=0.05)  # the COCO API adds a little
    assert mask[12, 9] == mask[5, 16] == 1
    assert mask[12, 7] == mask[3, 16] == 0


def test_the_image_is_found_by_its_path_or_beside_the_file(tmp_path):
    write_photo(tmp_path / "photos/b.jpg", 3)
    (tmp_path / "json").mkdir()
    (tmp_path / "json/b.json").write_text(json.dumps({**labelme_json("b", 3), "imagePath": "..\\photos\\b.jpg"}))
    place(tmp_path, "c", 4, imagePath="/home/other/IMG_0001.jpg")
    write_photo(tmp_path / "unused.jpg", 5)
    source = opened(tmp_path)
    source.verify()
    assert source.ids == ("c", "json/b")
    assert [str(pair.image.relative_to(tmp_path)) for pair in source.pairs] == ["c.jpg", "photos/b.jpg"]


def test_a_missing_image_is_said(tmp_path):
    place(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a.jpg: missing, which a JSON file names"):
        opened(tmp_path).verify()


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (shape("polygon", [[1, 1], [5, 5]]), r"shape 5 \(cat\): a polygon of 2 points"),
        (shape("polygon", [[1, 1], [5, 5], ["x", 1]]), r"shape 5 \(cat\): a polygon of other things than numbers"),
        (shape("rectangle", [[1, 1]]), r"shape 5 \(cat\): a rectangle of 1 points, expected two"),
        (shape("star", [[1, 1]]), r"shape 5 \(cat\): a shape of type star"),
        (shape("mask", [[1, 1], [5, 5]], mask="???"), r"shape 5 \(cat\): a mask that cannot be decoded"),
        (shape("mask", [[1, 1], [5, 5]]), r"shape 5 \(cat\): a mask that cannot be decoded"),
        (shape("rectangle", [[40, 40], [50, 50]]), r"shape 5 \(cat\): lies outside the image"),
        (shape("circle", [[4, 4], [4, 4]]), r"shape 5 \(cat\): covers no pixel"),
        (7, "shape 5: 7, expected a label and points"),
    ],
)
def test_a_bad_shape_is_named_and_the_others_are_drawn(bad, problem, tmp_path, caplog):
    path = place(tmp_path, shapes=[*labelme_json("a", 0)["shapes"], bad])
    with pytest.raises(DataError, match=f"{path.name}: {problem}"):
        opened(tmp_path).verify()
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, on_bad="skip")
        source.verify()
    assert "1 annotations are left out" in caplog.text
    assert (source.mask(0) > 0).sum() == (truth(0) > 0).sum()


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_a_file_that_cannot_be_read_is_said_once_and_the_others_go_on(mode, tmp_path):
    place(tmp_path, "a")
    place(tmp_path, "b", 1).write_text("{")
    with pytest.raises(DataError, match=r"b.json: no JSON") as said:
        opened(tmp_path, mode=mode).verify()
    assert len(str(said.value).splitlines()) == 1
    source = opened(tmp_path, mode=mode, on_bad="skip")
    source.verify()
    assert source.ids == ("a",)
    assert source.mask(0).shape[-2:] == SIZE


def test_what_is_not_of_labelme_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no JSON file"):
        opened(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="has no shapes"):
        opened(tmp_path)
    place(tmp_path, shapes=[])
    with pytest.raises(DataError, match="no JSON file holds a shape with an area"):
        opened(tmp_path)


def test_a_file_that_changes_is_read_again(tmp_path):
    place(tmp_path)
    assert opened(tmp_path).class_names == ("background", "cat", "cow", "dog")
    place(tmp_path, shapes=[shape("rectangle", [[0, 0], [8, 8]], "horse")])
    assert opened(tmp_path).class_names == ("horse",)
