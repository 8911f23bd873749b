from pathlib import Path

from segtrain.data.doctor.content import content_of_pixels
from segtrain.data.doctor.duplicates import Seen, doubles, leaks, same_files
from segtrain.data.doctor.subject import Subject
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Listing
from tests.data.doctor.test_hashes import scene


def seen(split, name, seed, *, data=None, change=0):
    pixels = scene(seed)[..., None] + change
    return Seen(split, Path(name), content_of_pixels(pixels, (data or name).encode()))


def test_the_same_file_in_two_splits_is_a_leak():
    (finding,) = leaks([seen("train", "a", 0, data="x"), seen("train", "b", 1), seen("val", "c", 0, data="x")])
    assert (finding.level, finding.kind, finding.files) == ("fatal", "leak", (Path("c"), Path("a")))
    assert str(finding).startswith("c: in val, is the same file as a in train")


def test_what_looks_the_same_in_two_splits_is_a_near_leak():
    (finding,) = leaks([seen("train", "a", 0), seen("train", "b", 1), seen("val", "c", 0, change=10)])
    assert (finding.level, finding.kind, finding.files) == ("warning", "near leak", (Path("c"), Path("a")))


def test_images_of_one_split_are_no_leak_but_a_double_is_noted():
    images = [seen("train", "a", 0, data="x"), seen("train", "b", 0, data="x"), seen("train", "c", 0, change=3)]
    assert leaks(images) == []
    (finding,) = doubles(images)
    assert (finding.level, finding.files) == ("note", (Path("a"), Path("b")))


def test_flat_images_look_the_same_by_nature_and_are_no_leak():
    blank = scene(0)[..., None] * 0 + 100
    images = [Seen(split, Path(split), content_of_pixels(blank, split.encode())) for split in ("train", "val")]
    assert leaks(images) == []


def test_a_thousand_equal_looks_give_a_finding_for_two_splits_and_not_for_each_pair():
    images = [seen("train", f"a{number}", 0) for number in range(50)]
    images += [seen("val", f"b{number}", 0) for number in range(50)]
    assert len(leaks(images)) == 1


def test_equal_files_are_found_by_their_bytes_and_only_where_sizes_are_equal(tmp_path, monkeypatch):
    for name, data in {"a": b"one", "b": b"two", "c": b"one", "d": b"other"}.items():
        (tmp_path / name).write_bytes(data)
    read = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or read_bytes(path))
    subjects = [
        Subject(split, Listing(list(files), [f"{tmp_path}/{name}" for name in files], ()), LabelMap(["a", "b"]), ("b",))
        for split, files in {"train": "ab", "val": "cd"}.items()
    ]
    (finding,) = same_files(subjects)
    assert finding.files == (tmp_path / "c", tmp_path / "a")
    assert sorted(read) == ["a", "b", "c"]
