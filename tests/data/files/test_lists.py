"""List files, and paths in them that were written on another machine."""

import pytest

from segtrain.data.files.lists import found_below, read_lines, read_pairs
from segtrain.errors import DataError


def test_blank_lines_ends_of_lines_of_windows_and_a_byte_order_mark_are_no_names(tmp_path):
    (tmp_path / "train.txt").write_bytes("\ufeffa b\r\n\r\n  c\n".encode())
    assert read_lines(tmp_path / "train.txt") == ["a b", "c"]


def test_pairs_are_parted_by_tabs_where_paths_have_spaces(tmp_path):
    (tmp_path / "train.txt").write_text("a.jpg a.png\nmy b.jpg\tmy b.png\n")
    assert read_pairs(tmp_path / "train.txt") == [("a.jpg", "a.png"), ("my b.jpg", "my b.png")]


@pytest.mark.parametrize("before", ["", "/home/her/data/", "set/", "D:\\set\\"])
def test_the_folders_that_are_not_here_are_dropped_from_all_paths(tmp_path, before):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "b.png").touch()  # a.png is missing: that is told later
    names = [f"{before}train/{name}.png" for name in "abc"]
    expected = [str(tmp_path / "train" / f"{name}.png") for name in "abc"]
    assert found_below(tmp_path, names, tmp_path / "list.txt") == expected


def test_an_absolute_path_that_leads_to_a_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.png").touch()
    assert found_below(tmp_path / "elsewhere", [str(tmp_path / "a.png")], tmp_path) == [str(tmp_path / "a.png")]


def test_paths_that_lead_nowhere_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"list\.txt: names x/a\.png, which is not in .*; set data\.root"):
        found_below(tmp_path, ["x/a.png"], tmp_path / "list.txt")
