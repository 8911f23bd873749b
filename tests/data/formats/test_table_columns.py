"""Columns are told by what they hold; what is not plain is not told."""

import pytest

from segtrain.data.formats.table_columns import columns_word, told_columns


@pytest.fixture
def told(tmp_path):
    for name in ("a.png", "b.png", "labels/a.png", "labels/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return lambda header, *rows: told_columns(header, rows, tmp_path / "table.csv", tmp_path)


def test_the_mask_is_told_by_its_name_or_else_by_its_folder(told):
    assert told(["x", "y_mask"], ["a.png", "b.png"]) == {"image": "x", "mask": "y_mask"}
    assert told(["x", "y"], ["labels/a.png", "a.png"]) == {"image": "y", "mask": "x"}
    assert told(["mask_file", "label_file"], ["a.png", "labels/a.png"]) == {"image": "mask_file", "mask": "label_file"}


def test_split_and_group_are_told_by_words_and_by_name(told):
    header = ["id", "x", "mask", "part", "the_scene"]
    rows = ["1", "a.png", "labels/a.png", "Train", "s1"], ["2", "b.png", "labels/b.png", "", "s2"]
    assert told(header, *rows) == {"image": "x", "mask": "mask", "split": "part", "group": "the_scene"}
    assert "split" not in told(header, *rows, ["3", "b.png", "labels/b.png", "fold 3", "s2"])


def test_nothing_is_told_of_files_that_are_not_there_or_are_as_likely(told):
    assert told(["x", "mask"], ["c.png", "labels/c.png"]) is None
    assert told(["x", "y"], ["a.png", "b.png"]) is None
    assert told(["x", "y", "mask"], ["a.png", "b.png", "labels/a.png"]) is None
    assert told(["x", "mask"]) is None


def test_names_are_quoted_where_the_grammar_asks_for_it_and_left_out_where_they_are_usual():
    assert columns_word({"image": "Image", "mask": "mask"}) is None
    assert columns_word({"image": "file", "mask": "a mask"}) == 'data.columns={image: file, mask: "a mask"}'
