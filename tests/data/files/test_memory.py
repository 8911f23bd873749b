"""What is remembered between runs: plain values in the user's cache folder, and no error where there is none."""

import pytest

from segtrain.data.files.memory import recall, remember


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "segtrain"


def test_what_was_kept_is_found_by_its_kind_and_key(cache):
    assert recall("counts", "a") is None
    remember("counts", "a", {"pixels": [1, 2.5, "x"]})
    assert recall("counts", "a") == {"pixels": [1, 2.5, "x"]}
    assert recall("sizes", "a") is None
    assert [path.name for path in (cache / "counts").iterdir()] == ["a.json"]


def test_a_file_that_was_cut_short_counts_as_none(cache):
    remember("counts", "a", [1, 2, 3])
    (cache / "counts" / "a.json").write_text("[1, 2")
    assert recall("counts", "a") is None


def test_a_folder_that_cannot_be_written_is_no_error(cache):
    cache.write_text("a file in the way")
    remember("counts", "a", 1)
    assert recall("counts", "a") is None


def test_the_users_home_is_the_place_without_a_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    remember("counts", "a", 7)
    assert (tmp_path / ".cache" / "segtrain" / "counts" / "a.json").read_text() == "7"
