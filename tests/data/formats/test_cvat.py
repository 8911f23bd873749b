"""CVAT's XML: shapes in their order, masks by rows of their box, and what is wrong with single ones."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from segtrain.data.formats.cvat import Cvat
from segtrain.errors import DataError
from tests.data.layouts import SIZE
from tests.data.tool_layouts import CLASSES, cvat, scenes, truth, write_photo

WRITTEN = Path(__file__).parent / "written"


def opened(root, split="all", **options):
    return Cvat(split=split, root=str(root), **options)


def export(root, shapes, *, labels=("cat", "dog"), name="a.png"):
    """An XML of one image."""
    write_photo(root / "images" / name, 0)
    meta = "".join(f"<label><name>{label}</name></label>" for label in labels)
    (root / "annotations.xml").write_text(
        f"<annotations><meta><task><labels>{meta}</labels></task></meta>"
        f'<image id="0" name="{name}" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image></annotations>'
    )


def test_the_masks_are_those_that_were_drawn_whatever_their_order_in_the_file(tmp_path, caplog):
    cvat(tmp_path)
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path)
    assert "shapes without an area are left out: 11 polyline" in caplog.text
    source.verify()
    assert source.class_names == ("background", *CLASSES)
    assert source.palette[1:] == ((250, 50, 83), (51, 221, 255), (36, 179, 83))
    seeds = {f"{split.capitalize()}/{name}": seed for split, name, seed in scenes()}
    assert set(source.ids) == set(seeds)
    for index, name in enumerate(source.ids):
        assert (source[index].mask == truth(seeds[name])).all()
    assert [len(opened(tmp_path, split)) for split in ("train", "val", "test")] == [6, 3, 2]
    assert Cvat.splits_in({"root": str(tmp_path)}) == {"train", "val", "test"}


def test_a_file_of_another_writer_of_the_format_is_read(tmp_path):
    """Written by datumaro 1.13: a polygon over a box, and a mask with a hole."""
    shutil.copy(WRITTEN / "datumaro_cvat.xml", tmp_path / "train.xml")
    for name in "ab":
        write_photo(tmp_path / "images" / f"{name}.jpg", 0)
    expected = np.zeros(SIZE, int)
    expected[6:14, 6:16] = 2
    expected[3:9, 20:28] = 3
    expected[5:7, 22:24] = 0
    expected[2:10, 2:12] = 1  # z_order 1
    source = opened(tmp_path, "train", val_fraction=0)
    source.verify()
    assert source.ids == ("a", "b")
    assert (source.mask(0) == expected).all()
    assert not source.mask(1).any()


def test_ellipses_and_turned_boxes_are_drawn_in_place(tmp_path):
    export(tmp_path, '<ellipse label="cat" cx="16" cy="12" rx="10" ry="4" rotation="90.00" z_order="0"/>')
    mask = opened(tmp_path, classes=["cat"]).mask(0)
    assert mask.sum() == pytest.approx(np.pi * 40, rel=0.06)
    assert mask[4, 16] == 1
    assert mask[12, 8] == 0
    export(tmp_path, '<box label="cat" xtl="12" ytl="4" xbr="20" ybr="8" rotation="90.00"/>')
    expected = np.zeros(SIZE, int)
    expected[2:10, 14:18] = 1
    assert (opened(tmp_path, classes=["cat"]).mask(0) == expected).all()


GOOD = '<box label="dog" xtl="0" ytl="0" xbr="4" ybr="4"/>'


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ('<polygon label="cat" points="1,1;5,5"/>', r"polygon 2 \(cat\): a polygon of 2 points"),
        ('<polygon label="cat" points="1,1;5,5;1"/>', r"polygon 2 \(cat\): points that are no pairs"),
        ('<polygon label="cat" points="1,1;5,x;1,2"/>', r"polygon 2 \(cat\): could not convert"),
        ('<polygon label="cow" points="1,1;5,5;1,5"/>', r"polygon 2 \(cow\): the label is not among"),
        ('<polygon label="cat"/>', r"polygon 2 \(cat\): lacks 'points'"),
        ('<box label="cat" xtl="50" ytl="50" xbr="60" ybr="60"/>', r"box 2 \(cat\): lies outside the image"),
        ('<mask label="cat" rle="1, 2" left="0" top="0" width="2" height="2"/>', "run lengths of 3 pixels, expected 4"),
        ('<mask label="cat" rle="4" left="0" top="0" width="2" height="2"/>', "covers no pixel"),
        ('<mask label="cat" rle="" left="0" top="0" width="2" height="2"/>', "invalid literal"),
    ],
)
def test_a_bad_shape_is_named_and_the_others_are_drawn(bad, problem, tmp_path, caplog):
    export(tmp_path, GOOD + bad)
    with pytest.raises(DataError, match=rf"annotations.xml: image 0 \(a.png\), .*{problem}"):
        opened(tmp_path).verify()
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, on_bad="skip")
        source.verify()
    assert "1 annotations are left out" in caplog.text
    assert source.mask(0).sum() == 32


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<annotations><track/></annotations>", "holds tracks of a video"),
        ("<annotations><meta/>", "is damaged"),
        ("<annotations><meta/></annotations>", "names no labels"),
        ("<annotations><image/></annotations>", r"is damaged \('name'\)"),
        ("<voc/>", "no XML of CVAT there"),
    ],
)
def test_other_files_are_refused(text, problem, tmp_path):
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=problem):
        opened(tmp_path)


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unpack export.zip"):
        opened(tmp_path)


def test_missing_images_are_said(tmp_path):
    export(tmp_path, GOOD)
    write_photo(tmp_path / "images/b.png", 1)
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(DataError, match=r"a.png: missing, which annotations.xml names"):
        opened(tmp_path).verify()
    (tmp_path / "images/b.png").unlink()
    with pytest.raises(DataError, match="holds no image"):
        opened(tmp_path)
