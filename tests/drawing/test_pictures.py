import numpy as np
import pytest

from segtrain.drawing import pictures
from segtrain.drawing.pictures import as_rgb, heading, legend, panel, side_by_side, stack_with_legend

NAMES = ("background", "cat", "dog")
COLOURS = ((24, 24, 32), (255, 64, 64), (107, 136, 217))


def held(picture):
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_a_legend_holds_every_colour_in_a_line_where_there_is_room():
    picture = legend(NAMES, COLOURS, 400)
    assert picture.shape == (14, 400, 3)
    assert held(picture) >= set(COLOURS)


def test_a_narrow_legend_takes_a_line_for_each_name_and_cuts_none_off():
    picture = legend(NAMES, COLOURS, 20)
    assert picture.shape[0] == 3 * 14
    assert picture.shape[1] > 20
    assert [held(picture[line * 14 :][:14]) >= {colour} for line, colour in enumerate(COLOURS)] == [True] * 3


def test_the_legend_stands_over_the_pictures():
    row = np.zeros((10, 300, 3), np.uint8)
    picture = stack_with_legend([row, row], NAMES, COLOURS)
    assert picture.shape == (14 + 4 + 2 * (10 + 4), 300, 3)
    assert (picture[18:28] == 0).all()


def test_truth_and_prediction_are_drawn_alike_beside_the_image_each_under_its_title():
    image = np.full((20, 30, 3), 200, np.uint8)
    labels = np.repeat(np.array([[0], [1]], np.uint8), 10, axis=0).repeat(30, axis=1)
    row = side_by_side(image, labels, labels, COLOURS, name="cat.png", score="iou 1.000")
    width = 240 * 30 // 20 + 4
    assert row.shape == (14 + 240, 3 * width, 3)
    photo, truth, prediction = (row[14:, start : start + width - 4] for start in (0, width, 2 * width))
    assert held(photo) == {(200, 200, 200)}
    assert held(truth) == set(COLOURS[:2])
    assert np.array_equal(truth, prediction)
    titles = [row[:14, start : start + width] for start in (0, width, 2 * width)]
    assert len({title.tobytes() for title in titles}) == 3


def test_a_panel_scales_labels_without_mixing_their_colours():
    labels = np.array([[(0, 0, 0), (255, 0, 0)], [(0, 255, 0), (0, 0, 255)]], np.uint8)
    assert held(panel("", labels)[14:, :-4]) == {tuple(colour) for colour in labels.reshape(-1, 3).tolist()}
    assert len(held(panel("", labels, is_photo=True))) > 50


def test_a_heading_is_told_from_a_title():
    assert (105, 105, 105) in held(heading("best images", 300))
    assert heading("best images", 300).shape == (14, 300, 3)


@pytest.mark.parametrize(
    ("dtype", "value_range", "values", "shown"),
    [
        ("uint8", None, [0, 7, 255], [0, 7, 255]),
        ("uint16", None, [0, 257, 65535], [0, 1, 255]),
        ("float32", None, [0, 0.2, 2], [0, 51, 255]),
        ("float32", (0.0, 255.0), [0, 51, 300], [0, 51, 255]),
        ("uint16", (0.0, 4095.0), [0, 819, 4095], [0, 51, 255]),  # a fifth of 4095
        ("float32", (-1000.0, 4000.0), [-2000, 0, 4000], [0, 51, 255]),
    ],
)
def test_an_image_is_shown_from_its_black_to_its_white(dtype, value_range, values, shown):
    picture = as_rgb(np.array([values], dtype)[..., None], value_range)
    assert picture.tolist() == [[[level] * 3 for level in shown]]


def test_a_large_image_is_shown_in_parts_as_it_would_be_as_a_whole(monkeypatch):
    image = np.random.default_rng(0).integers(0, 2**16, (50, 30, 4), dtype=np.uint16)
    whole = as_rgb(image)
    monkeypatch.setattr(pictures, "_AT_ONCE", 100)  # three rows of 30, and two at the end
    assert np.array_equal(as_rgb(image), whole)
    monkeypatch.setattr(pictures, "_AT_ONCE", 1)  # less than a row
    assert np.array_equal(as_rgb(image), whole)
