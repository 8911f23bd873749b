"""Folders that commands write to: made, refused, numbered, and kept to one process."""

from itertools import islice
from pathlib import Path

import pytest

from segtrain.errors import ConfigError
from segtrain.run.folders import Lock, holder, make_folder, numbered


def test_what_was_made_is_told_the_innermost_first(tmp_path):
    made = make_folder(tmp_path / "a" / "b", key="output")
    assert made == [tmp_path / "a" / "b", tmp_path / "a"]
    assert make_folder(tmp_path / "a" / "b", key="output") == []


def test_a_folder_below_a_file_is_refused_with_its_key(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^output=.*/file/x: cannot be written \(Not a directory\)"):
        make_folder(tmp_path / "file" / "x", key="output")


def test_folders_are_numbered_from_two():
    assert list(islice(numbered(Path("runs/a")), 3)) == [Path("runs/a"), Path("runs/a-2"), Path("runs/a-3")]


def test_a_lock_is_had_by_one_and_leaves_nothing(tmp_path):
    lock = Lock.take(tmp_path)
    assert Lock.take(tmp_path) is None
    assert holder(tmp_path).startswith("process ")
    lock.release()
    assert list(tmp_path.iterdir()) == []
    again = Lock.take(tmp_path)
    assert again is not None
    again.release()
