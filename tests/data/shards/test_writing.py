"""Writing shards is repeatable to the byte, goes on where it was interrupted, and touches nothing of others."""

import json
import tarfile

import numpy as np
import pytest

from segtrain.data.formats.shapes import Shapes
from segtrain.data.shards import writing
from segtrain.data.shards.writing import Part, claim, encode_pixels, member_name, write_shards
from segtrain.errors import ConfigError

MADE_OF = "this"


def write(folder, source=None, on_sample=lambda: None, made_of=MADE_OF):
    source = source or Shapes(split="train", size=32, train=30)
    part = Part(source, range(len(source)))
    return claim(folder, made_of) or write_shards(
        {"train": part}, folder, shard_mb=1, made_of=made_of, on_sample=on_sample
    )


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(writing, "MB", 40_000)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_data_gives_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(first.splits["train"]) > 2
    assert sum(shard.samples for shard in first.splits["train"]) == 30
    assert writing.UNFINISHED not in contents(tmp_path / "a")
    for shard in first.splits["train"][:-1]:
        assert 40_000 <= shard.bytes < 70_000


def test_an_index_names_the_bytes_of_each_file(tmp_path):
    manifest = write(tmp_path)
    for shard in manifest.splits["train"]:
        index = json.loads((tmp_path / shard.index_name).read_text())
        with tarfile.open(tmp_path / shard.name) as tar:
            by_tar = [[member.offset_data, member.size] for member in tar]
            names = tar.getnames()
        assert names == [f"{name}.{ending}" for name in index["ids"] for ending in ("png", "mask.png")]
        assert [place[:2] for row in index["places"] for place in (row[:3], row[3:])] == by_tar


class Stopped(Exception):
    pass


def stop_after(count):
    seen = []

    def on_sample():
        seen.append(1)
        if len(seen) == count:
            raise Stopped

    return on_sample


def test_an_interrupted_writing_goes_on_and_gives_the_same_bytes(tmp_path):
    write(tmp_path / "whole")
    with pytest.raises(Stopped):
        write(tmp_path / "some", on_sample=stop_after(25))
    begun = contents(tmp_path / "some")
    assert "segtrain.json" not in begun
    assert "train-000001.json" in begun
    (tmp_path / "some" / ".train-000002.tar.partial").write_bytes(b"left by a kill")
    times = {name: (tmp_path / "some" / name).stat().st_mtime_ns for name in begun if name.startswith("train")}
    seen = []
    write(tmp_path / "some", on_sample=lambda: seen.append(1))
    assert len(seen) == 30
    assert contents(tmp_path / "some") == contents(tmp_path / "whole")
    assert {name: (tmp_path / "some" / name).stat().st_mtime_ns for name in times} == times


def test_what_was_begun_with_other_data_is_started_over(tmp_path):
    with pytest.raises(Stopped):
        write(tmp_path / "some", Shapes(split="train", size=48, train=30, seed=1), stop_after(25), made_of="that")
    write(tmp_path / "some")
    write(tmp_path / "whole")
    assert contents(tmp_path / "some") == contents(tmp_path / "whole")


def test_what_is_complete_is_not_written_again_nor_replaced(tmp_path):
    first = write(tmp_path)
    before = contents(tmp_path)
    assert write(tmp_path, on_sample=stop_after(1)) == first
    with pytest.raises(ConfigError, match="holds shards of other data"):
        write(tmp_path, made_of="that")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["photo.jpg", "train-000000.tar"])
def test_a_folder_with_other_files_is_refused_and_left_alone(name, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match=f"holds {name}, expected an empty folder"):
        write(tmp_path)
    assert contents(tmp_path) == {name: b"mine"}


def test_names_in_a_tar_are_distinct_and_have_no_dot():
    names = ["a/b", "a.b", "a%2Eb", "a/b.c", "../a", "/a", "a\nb", "%2Fa", "a\\b"]
    found = [member_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert not any("." in name or "\n" in name or name.startswith("/") for name in found)
    assert found[0] == "a/b"


@pytest.mark.parametrize(
    ("dtype", "channels", "suffix"), [("uint8", 3, "png"), ("uint16", 1, "png"), ("uint8", 4, "npy")]
)
def test_pixels_are_png_where_that_holds_them(dtype, channels, suffix):
    assert encode_pixels(np.zeros((4, 5, channels), dtype)).suffix == suffix
