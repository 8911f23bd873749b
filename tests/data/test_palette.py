import numpy as np
import pytest

from segtrain.data.palette import BACKGROUND_COLOUR, IGNORE_COLOUR, colorize, colours_of, overlay, palette
from segtrain.task import make_task


def test_colours_are_distinct_and_begin_with_a_dark_background():
    colours = palette(40)
    assert colours[0] == BACKGROUND_COLOUR
    assert len(set(colours)) == 40
    assert IGNORE_COLOUR not in colours


def test_more_colours_begin_with_the_same():
    assert palette(9)[:4] == palette(4)


def test_neighbouring_labels_are_easy_to_tell_apart():
    colours = np.array(palette(12), float)
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 100


def test_labels_become_their_colours_and_ignored_pixels_gray():
    painted = colorize(np.array([[0, 1], [255, 2]], np.uint8), palette(3))
    assert painted.tolist() == [[list(palette(3)[0]), list(palette(3)[1])], [list(IGNORE_COLOUR), list(palette(3)[2])]]
    assert painted.dtype == np.uint8


def test_an_overlay_that_is_blended_in_parts_is_that_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (50, 30, 3), dtype=np.uint8), rng.integers(0, 2, (2, 50, 30), dtype=np.uint8)
    whole = overlay(image, labels, palette(3), alpha=0.3)
    monkeypatch.setattr("segtrain.data.palette._AT_ONCE", 100)  # three rows of 30, and two at the end
    assert np.array_equal(overlay(image, labels, palette(3), alpha=0.3), whole)


def test_an_overlay_mixes_image_and_colours():
    image = np.full((1, 1, 3), 200, np.uint8)
    colours = [(0, 100, 255)]
    assert overlay(image, np.zeros((1, 1), np.uint8), colours, alpha=0.25).tolist() == [[[150, 175, 214]]]


@pytest.mark.parametrize(
    ("mode", "names", "is_dark"),
    [
        ("multiclass", ["background", "cat"], True),
        ("multiclass", ["Background", "cat"], True),
        ("multiclass", ["sky", "road"], False),
        ("binary", ["sky"], True),  # label 0 is what is no sky
        ("multilabel", ["sky", "road"], True),  # as is the colour of pixels without any
    ],
)
def test_label_0_is_dark_where_it_is_the_background(mode, names, is_dark):
    colours = colours_of(make_task(mode, names))
    assert (colours[0] == BACKGROUND_COLOUR) == is_dark
    assert BACKGROUND_COLOUR not in colours[1:]
    assert len(set(colours)) == len(colours)
