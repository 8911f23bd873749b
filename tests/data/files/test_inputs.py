"""Images to predict: files, folders, patterns and lists; names that never collide, nor lead out of a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrain.data.files.inputs import find_inputs, name_inputs, outside
from segtrain.errors import DataError


@pytest.fixture
def photos(here):
    for name in ("a.jpg", "b/c.png", "b/d.JPG", "b/notes.txt"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Path("photos", name).write_bytes(b"x")
    return here


def found(given):
    return [path.as_posix() for path in find_inputs(given)]


def test_a_word_is_a_file_a_folder_a_pattern_or_a_list(photos):
    every = ["photos/a.jpg", "photos/b/c.png", "photos/b/d.JPG"]
    assert found("photos/a.jpg") == every[:1]
    assert found("photos") == found("photos/**/*.*") == every
    assert found("photos/b/*") == every[1:]
    assert found(["photos/b", "photos/a.jpg", "./photos/b/c.png"]) == [*every[1:], every[0]]
    (photos / "photos" / "list.txt").write_text("b/c.png\n\n../photos/a.jpg\n")
    assert found("photos/list.txt") == ["photos/b/c.png", "photos/../photos/a.jpg"]


def test_a_file_whose_name_is_a_pattern_is_that_file(photos):
    (photos / "a[1].png").write_bytes(b"x")
    assert found("a[1].png") == ["a[1].png"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nowhere", "no such file or folder"),
        ("photos/*.gif", "no image matches"),
        ([], "is empty"),
        ("empty.txt", "is empty"),
    ],
)
def test_words_that_stand_for_nothing_are_refused(photos, word, said):
    (photos / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match=said):
        find_inputs(word)


def names(*paths, root=None):
    return [image.name for image in name_inputs([Path(path) for path in paths], root and Path(root))]


def test_names_are_paths_below_the_folder_without_suffix_and_whole_where_two_would_be_one(here):
    assert names("p/a.jpg", "p/b/a.jpg", root="p") == ["a", "b/a"]
    assert names("p/a.jpg", "p/a.png", "p/b.png", root="p") == ["a.jpg", "a.png", "b"]
    assert names("p/a.jpg", "p/a.png", "p/a.jpg.tif", root="p") == ["a.jpg", "a.png", "a.jpg.tif"]
    assert names("p/a.jpg", "q/a.jpg") == ["p/a", "q/a"]
    assert names("p/a.jpg") == ["a"]


def test_names_do_not_lead_out_of_a_folder(here):
    assert names("p/../../x/a.jpg", "p/a.jpg", root="p") == ["x/a", f"{here.name}/p/a"]
    assert names("/etc/../etc/a.jpg") == ["a"]


@given(st.lists(st.from_regex(r"([ab]/){0,2}[ab](\.jpg|\.png){1,3}", fullmatch=True), min_size=1, unique=True))
def test_names_never_collide(paths):
    found = names(*[f"root/{path}" for path in paths], root="root")
    assert len(set(found)) == len(paths)
    assert not any(name.startswith(("/", "..")) for name in found)


def test_images_in_the_output_are_left_out(photos):
    images = name_inputs(find_inputs("photos"))
    assert [image.listed for image in outside(images, Path("photos/b"))] == ["a.jpg"]
    assert len(outside(images, Path("elsewhere"))) == 3
