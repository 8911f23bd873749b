"""What is in a tar file of any tool is told by the names in it."""

import io

import numpy as np
import pytest

from segtrain.data.shards.index import ShardIndex, TarError, checked, read_tar
from tests.data.shards.making import write_tar


def index_of(tmp_path, files):
    write_tar(tmp_path / "a.tar", files)
    with (tmp_path / "a.tar").open("rb") as file:
        return read_tar(file)


def test_files_of_one_name_up_to_its_first_dot_are_a_sample(tmp_path):
    files = {"x/1.jpg": b"11", "x/1.seg.png": b"222", "1.cls": b"0", "1.PNG": b"4", "1.mask.tif": b"5", ".hidden": b""}
    index = index_of(tmp_path, files)
    assert (index.ids, index.suffixes, index.mask_suffixes) == (["x/1", "1"], ["jpg", "png"], ["png", "tif"])
    content = (tmp_path / "a.tar").read_bytes()
    found = [[content[offset : offset + length] for offset, length, _ in row] for row in index.places.tolist()]
    assert found == [[b"11", b"222"], [b"4", b"5"]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.jpg": b"1"}, r"1: has the files jpg, expected one image"),
        ({"1.jpg": b"1", "1.webp": b"", "1.seg.png": b"2"}, "1: has the files jpg, webp, seg.png, expected one image"),
        ({"1.jpg": b"", "1.seg.png": b"", "2.jpg": b"", "2.png": b"", "1.png": b"", "1.gt.png": b""}, "held before"),
        ({}, "holds no sample"),
        ({"readme": b"1"}, "holds no sample"),
    ],
)
def test_what_is_no_sample_is_named(files, message, tmp_path):
    with pytest.raises(TarError, match=message):
        index_of(tmp_path, files)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08 compressed", b"text" * 1000])
def test_what_is_no_tar_is_named(content):
    with pytest.raises(TarError, match=r"is no tar file, or damaged .*restore it"):
        read_tar(io.BytesIO(content))


@pytest.mark.parametrize("cut", [700, 1024, 1536, 2048])
def test_a_tar_that_is_cut_off_anywhere_is_named(cut, tmp_path):
    write_tar(tmp_path / "a.tar", {"1.jpg": b"1" * 600, "1.seg.png": b"2"})
    with pytest.raises(TarError, match=r"truncated|damaged"):
        read_tar(io.BytesIO((tmp_path / "a.tar").read_bytes()[:cut]))


def test_an_index_is_the_same_after_writing_and_reading(tmp_path):
    index = index_of(tmp_path, {"ü.jpg": b"1", "ü.png": b"2"})
    again = ShardIndex.from_json(index.to_json())
    assert (again.ids, again.suffixes, again.mask_suffixes) == (["ü"], ["jpg"], ["png"])
    assert np.array_equal(again.places, index.places)


@pytest.mark.parametrize("text", ["[]", "{}", "no", '{"ids": ["a"], "places": [[1,2,3]], "suffixes": ["jpg"]}'])
def test_what_is_no_index_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - callers name the file
        ShardIndex.from_json(text)


def test_files_are_cut_out_and_compared_with_their_checksums():
    crc = 0x352441C2  # of b"abc", as RFC 3720's table and `cksum -o 3` have it
    assert checked(b"..abcd", [(102, 3, crc), (105, 1, -1)], 100) == [b"abc", b"d"]
    with pytest.raises(ValueError, match="checksum"):
        checked(b"..abd", [(102, 3, crc)], 100)
