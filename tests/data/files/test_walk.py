from pathlib import Path, PurePosixPath

import pytest

from segtrain.data.files.inputs import find_inputs
from segtrain.data.files.pairs import find_files
from segtrain.data.files.walk import find_images, without_suffix
from segtrain.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


NOT_THE_USERS = (
    ".ipynb_checkpoints/a-checkpoint.jpg",
    "b/.Trash/a.jpg",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "__MACOSX/a.jpg",
    "._a.jpg",
    "notes.txt",
)


def test_training_score_and_predict_find_the_same_files(tmp_path):
    touch(tmp_path, "a.jpg", "b/c.PNG", *NOT_THE_USERS)
    expected = [tmp_path / "a.jpg", tmp_path / "b/c.PNG"]
    assert find_images(tmp_path) == find_inputs(str(tmp_path)) == list(find_files(tmp_path).values()) == expected


def test_folders_named_like_images_are_passed_over(tmp_path):
    touch(tmp_path, "a.jpg", "extra.png/b.jpg")
    assert find_images(tmp_path) == [tmp_path / "a.jpg", tmp_path / "extra.png/b.jpg"]


def test_a_hidden_folder_around_all_of_them_does_not_hide_them(tmp_path):
    touch(tmp_path, ".data/images/a.jpg")
    assert find_images(tmp_path / ".data/images") == [tmp_path / ".data/images/a.jpg"]


def test_linked_folders_are_followed(tmp_path):
    touch(tmp_path, "store/a.jpg", "images/b.jpg")
    (tmp_path / "images/linked").symlink_to(tmp_path / "store")
    assert find_images(tmp_path / "images") == [tmp_path / "images/b.jpg", tmp_path / "images/linked/a.jpg"]


def test_a_link_to_a_folder_around_it_is_refused(tmp_path):
    touch(tmp_path, "images/deep/a.jpg")
    (tmp_path / "images/deep/again").symlink_to(tmp_path / "images")
    with pytest.raises(DataError, match=r"images/deep/again: is a link to a folder around it.*; remove the link"):
        find_images(tmp_path / "images")


def test_a_link_to_a_file_that_is_gone_is_kept_for_reading_to_name_it(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert find_images(tmp_path) == [tmp_path / "a.jpg"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.c.png", "a/b.c"), ("a.b/c", "a.b/c"), ("./a.png", "a"), ("a/.png", "a/.png"), ("a/..png", "a/..png")],
)
def test_a_suffix_is_cut_from_names_that_have_one(path, expected):
    assert without_suffix(PurePosixPath(path)) == expected
