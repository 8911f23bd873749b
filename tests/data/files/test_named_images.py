"""Images are found by the names that annotation files give them."""

import pytest

from segtrain.data.files.named_images import NamedImages
from segtrain.errors import DataError
from tests.data.tool_layouts import write_photo


@pytest.fixture
def named(tmp_path):
    for place in ("a/1.png", "b/1.png", "b/2.png", "c/d/3 x.png"):
        write_photo(tmp_path / place, 0)
    return NamedImages([tmp_path])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("2.png", "b/2.png"),
        ("b/2.png", "b/2.png"),
        ("/elsewhere/on/a/server/2.png", "b/2.png"),
        ("..\\photos\\2.png", "b/2.png"),
        ("b/1.png", "b/1.png"),
        ("/x/a/1.png", "a/1.png"),
        ("d/3%20x.png", "c/d/3 x.png"),
        ("4.png", None),
        ("", None),
    ],
)
def test_a_name_leads_to_the_file_whose_path_ends_like_it(name, place, named, tmp_path):
    assert named.find(name) == (None if place is None else str(tmp_path / place))


def test_two_files_of_that_name_are_an_error(named):
    with pytest.raises(DataError, match="may as well be the image"):
        named.find("1.png")


def test_what_was_not_named_is_counted(named):
    assert len(named) == 4
    assert named.unnamed([named.find("2.png"), named.find("b/2.png")]) == 3


def test_images_that_are_listed_but_missing_are_none_of_those_that_are_not_listed(named, tmp_path):
    assert named.unnamed([str(tmp_path / "a/1.png"), str(tmp_path / "gone.png")]) == 3
