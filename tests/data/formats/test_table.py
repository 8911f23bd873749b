"""Images and masks that a table names."""

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.table import Csv
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX
from tests.data.layouts import save, table

NAMES = ["background", "disc", "bar"]


def opened(root, split="train", **options):
    return Csv(split=split, root=str(root), **{"classes": NAMES, **options})


def rows_of(root):
    return [line.split(",") for line in (root / "samples.csv").read_text().splitlines()]


def write(root, rows, separator=","):
    (root / "samples.csv").write_text("".join(separator.join(row) + "\n" for row in rows))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_names_images_masks_splits_and_weights(tmp_path, separator):
    table(tmp_path, separator)
    train, val, test = (opened(tmp_path / "samples.csv", split) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [6, 3, 2]
    assert val.ids == ("photos/val_0000", "photos/val_0001", "photos/val_0002")
    assert train.weights == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert (val[1].mask == np.asarray(Image.open(tmp_path / "labels" / "val_0001.png"))).all()
    assert Csv.splits_in({"root": str(tmp_path)}) == {"train", "val", "test"}


def test_paths_start_from_the_root_where_the_table_lies_elsewhere(tmp_path):
    table(tmp_path / "data")
    (tmp_path / "lists").mkdir()
    (tmp_path / "data" / "samples.csv").rename(tmp_path / "lists" / "fold0.csv")
    assert len(opened(tmp_path / "data", table="../lists/fold0.csv")) == 6
    with pytest.raises(DataError, match=r"fold0\.csv: names photos/train_0000\.jpg, which is not in .*/lists, nor"):
        opened(tmp_path / "lists")


def test_columns_are_found_in_any_case_and_by_other_names(tmp_path):
    table(tmp_path)
    header, *rows = rows_of(tmp_path)
    write(tmp_path, [["File", "LABEL", *header[2:]], *rows])
    assert len(opened(tmp_path, columns={"image": "file", "mask": "label"})) == 6
    with pytest.raises(DataError, match=r"no column 'image' in its first line \(found: File, LABEL, .*'data\.columns="):
        opened(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.columns: picture, expected some of image, mask, split,"):
        opened(tmp_path, columns={"picture": "File"})


def test_rows_without_a_split_are_divided_and_groups_stay_together(tmp_path):
    table(tmp_path)
    header, *rows = rows_of(tmp_path)
    undivided = [[row[0], row[1], "", f"patient{number % 4}", "1"] for number, row in enumerate(rows)]
    write(tmp_path, [header, *undivided])
    train, val = (opened(tmp_path, split, val_fraction=0.3) for split in ("train", "val"))
    patients = {row[0]: row[3] for row in undivided}
    sides = [{patients[f"{name}.jpg"] for name in source.ids} for source in (train, val)]
    assert len(train) + len(val) == 11
    assert len(val) in (2, 3)
    assert not sides[0] & sides[1]
    together = opened(tmp_path, "val", val_fraction=0.3, group=None)
    assert len(together) == 3


def test_a_group_in_two_splits_of_the_table_is_refused(tmp_path):
    table(tmp_path)
    header, *rows = rows_of(tmp_path)
    write(tmp_path, [header, *([*row[:3], "one", "1"] for row in rows)])
    with pytest.raises(DataError, match=r"data\.group: one is in train .* and in val .*set data\.group=null"):
        opened(tmp_path)
    assert len(opened(tmp_path, group=None)) == 6
    with pytest.raises(ConfigError, match=r"data\.group: samples\.csv has no column 'patient', expected one of image"):
        opened(tmp_path, group="patient")
    assert len(opened(tmp_path, group="(train|val|test)_")) == 6


def test_overlapping_classes_have_a_column_each(tmp_path):
    masks = {"a": [[1, 0]], "b": [[1, 1]]}
    for name, values in masks.items():
        save(tmp_path / f"{name}.png", np.array(values, np.uint8))
    save(tmp_path / "x.jpg", np.zeros((1, 2, 3), np.uint8))
    save(tmp_path / "y.jpg", np.zeros((1, 2, 3), np.uint8))
    rows = [["x.jpg", "a.png", "b.png", "train"], ["y.jpg", "a.png", "", "train"]]
    write(tmp_path, [["image", "mask:road", "mask:lane", "split"], *rows])
    options = {"classes": ["road", "lane"], "mode": "multilabel", "val_fraction": 0}
    with pytest.raises(DataError, match=r"line 3 names no mask; .*set data\.missing=absent"):
        opened(tmp_path, **options)
    source = opened(tmp_path, **options, missing="ignore")
    assert source[0].mask.tolist() == [[[1, 0]], [[1, 1]]]
    assert source[1].mask.tolist() == [[[1, 0]], [[IGNORE_INDEX, IGNORE_INDEX]]]
    with pytest.raises(DataError, match=r"no column 'mask' \(found: .*set data\.mode=multilabel for a column of each"):
        opened(tmp_path)


def test_files_that_are_missing_are_told_by_the_check_and_not_row_by_row(tmp_path):
    table(tmp_path)
    (tmp_path / "photos" / "train_0003.jpg").unlink()
    source = opened(tmp_path)
    with pytest.raises(DataError, match=r"train_0003\.jpg: missing, which samples\.csv names; add what is missing"):
        source.verify()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (["photos/train_0000.jpg", "labels/train_0000.png", "train", "a", "1"], "photos/train_0000 twice"),
        (["a.jpg", "a.png", "training set", "a", "1"], "line 13 has the split 'training set', expected train, val"),
        (["a.jpg", "a.png", "train", "a", "-1"], "line 13 has the weight '-1', expected 0 or more"),
        (["a.jpg", "a.png", "train", "a", "much"], "line 13 has the weight 'much'"),
        (["a.jpg", "a.png"], "line 13 has 2 fields, expected 5 as its first line"),
        (["", "a.png", "train", "a", "1"], "line 13 names no image; fill it"),
        (["a.jpg", "", "train", "a", "1"], "line 13 names no mask; fill it"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, row, problem):
    table(tmp_path)
    write(tmp_path, [*rows_of(tmp_path), row])
    with pytest.raises(DataError, match=problem):
        opened(tmp_path)


def test_tables_that_are_missing_empty_or_several_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected one table there, found none; set data\.table=samples\.csv"):
        opened(tmp_path)
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; set data\.root to the table"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"x\.csv: no such file, .*correct data\.table=x\.csv"):
        opened(tmp_path, table="x.csv")
    write(tmp_path, [["image", "mask"]])
    with pytest.raises(DataError, match=r"samples\.csv: has no rows"):
        opened(tmp_path)
    (tmp_path / "other.csv").touch()
    with pytest.raises(DataError, match=r"expected one table there, found other\.csv, samples\.csv; set data\.table="):
        opened(tmp_path)
    (tmp_path / "samples.csv").write_bytes(b"image,mask\n\xff,\xfe\n")
    with pytest.raises(DataError, match=r"samples\.csv: cannot be read .*expected a CSV table of UTF-8"):
        opened(tmp_path, table="samples.csv")
