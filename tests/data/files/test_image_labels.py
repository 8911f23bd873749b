import pytest

from segtrain.data.files.image_labels import read_image_labels
from segtrain.errors import DataError


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_are_sorted_and_images_numbered_by_them(tmp_path):
    table = write(tmp_path / "labels.csv", "id,label\na,dog\nb,cat\nc,dog\n")
    assert read_image_labels(table, ["c", "b"]) == (("cat", "dog"), (1, 0))


def test_labels_of_other_images_count_too_so_that_splits_agree(tmp_path):
    table = write(tmp_path / "labels.csv", "id,label\na,dog\nb,cat\nc,ant\n")
    assert read_image_labels(table, ["a"]) == (("ant", "cat", "dog"), (2,))


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    table = write(tmp_path / "labels.csv", '\ufeffsize,label,id\n3,"big, red",deep/a\n4, small ,b \n')
    assert read_image_labels(table, ["b", "deep/a"]) == (("big, red", "small"), (1, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels.csv: no label for a \(1 of 1 images\); add a line such as 'a,<label>' for each"),
        ("a,cat\nb,dog\n", r"labels.csv:2: expected an id and a label, below the line 'id,label'; complete it"),
        ("id,label\na,\n", r"labels.csv:2: expected an id and a label"),
        ("id,label\na\n", r"labels.csv:2: expected an id and a label"),
        ("id,label\na,x\nb,x\na,y\n", r"labels.csv:4: a is y here and x before; keep one of the two"),
    ],
)
def test_a_table_that_does_not_say_it_all_is_refused_with_the_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_image_labels(write(tmp_path / "labels.csv", text), ["a"])


def test_a_missing_table_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"labels.csv: cannot be read: No such file.*data.image_labels=null"):
        read_image_labels(tmp_path / "labels.csv", ["a"])


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(
        DataError, match=r"labels.csv: cannot be read: .*expected a table with the columns id and label"
    ):
        read_image_labels(tmp_path / "labels.csv", ["a"])
