"""Shapes of annotation tools as pixels, compared to pixels worked out by hand and to the COCO API."""

import numpy as np
import pytest
from pycocotools import mask as coco

from segtrain.data.files.rasterize import Box, Encoded, Placed, Run, corners_of, ellipse, rasterize, rectangle


def drawn(shape, size):
    """The whole mask of a shape, ``(H, W)``."""
    box = rasterize(shape, size)
    mask = np.zeros(size, bool)
    mask[box.place] = box.pixels
    return mask


def box(left, top, right, bottom):
    return (rectangle(left, top, right, bottom),)


def test_a_box_of_whole_pixels_holds_just_those():
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:5] = True
    assert (drawn(box(2, 1, 5, 3), (5, 6)) == expected).all()


def test_polygons_of_one_region_are_united():
    shape = (*box(0, 0, 2, 2), *box(1, 1, 3, 3))
    expected = np.zeros((4, 4), bool)
    expected[:2, :2] = expected[1:3, 1:3] = True
    assert (drawn(shape, (4, 4)) == expected).all()


def test_what_is_outside_the_image_is_cut_off():
    assert drawn(box(-5, -5, 2, 2), (4, 4)).sum() == 4
    with pytest.raises(ValueError, match="lies outside the image"):
        drawn(box(10, 10, 12, 12), (4, 4))


def test_run_lengths_count_down_columns_or_along_rows():
    lengths = [1, 2, 3]  # 0 1 1 0 0 0
    assert (drawn(Run((2, 3), lengths, by_columns=True), (2, 3)) == [[0, 1, 0], [1, 0, 0]]).all()
    assert (drawn(Run((2, 3), lengths, by_columns=False), (2, 3)) == [[0, 1, 1], [0, 0, 0]]).all()


@pytest.mark.parametrize("seed", range(5))
def test_compressed_run_lengths_are_those_of_the_coco_api(seed):
    mask = np.random.default_rng(seed).random((37, 23)) > [0.5, 0.9, 0.1, 0.99, 0.0][seed]
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert (drawn(Encoded((37, 23), text), (37, 23)) == mask).all()


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (Run((2, 3), [1, 2], True), "run lengths of 3 pixels, expected 6"),
        (Run((2, 3), [-1, 7], True), "run lengths of 6 pixels, expected 6"),
        (Run((3, 3), [9], True), "run lengths for 3x3 pixels, but the image has 3x2"),
        (Encoded((2, 3), b"~~~"), "invalid compressed run lengths"),
        (Encoded((2, 3), coco.encode(np.asfortranarray(np.ones((9, 9), np.uint8)))["counts"]), "run lengths of 81"),
        ((np.zeros((2, 2), float),), "a polygon of 2 points, expected three or more"),
        ((np.full((3, 2), np.nan, float),), "NaN or infinite corners"),
        ((), "no polygon"),
        (box(0, 0, 1, 1e9), "a corner at 1e.09, far outside the image"),
        (box(0.1, 0.1, 0.2, 0.2), "covers no pixel"),
        (Run((2, 3), [6], True), "covers no pixel"),
    ],
)
def test_what_is_no_shape_is_refused(shape, problem):
    with pytest.raises(ValueError, match=problem):
        drawn(shape, (2, 3))


def test_a_part_of_the_image_is_pasted_at_its_place_and_cut_at_the_border():
    region = drawn(Box(1, 2, np.array([[True, False], [True, True]])), (3, 3))
    assert (region == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]).all()


def test_run_lengths_of_a_part_are_pasted_at_its_place():
    part = Placed(1, 2, Run((2, 2), [0, 1, 1, 2], by_columns=False))
    assert (drawn(part, (3, 4)) == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).all()
    with pytest.raises(ValueError, match="run lengths of 4 pixels, expected 9"):
        drawn(part._replace(run=Run((3, 3), [4], by_columns=False)), (3, 4))


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_is_drawn_as_by_the_coco_api_though_in_a_window(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 60, 2).tolist()
    center, reach = rng.uniform(-5, [width + 5, height + 5]), rng.uniform(1, 40)
    corners = np.round(center + rng.uniform(-reach, reach, (rng.integers(3, 9), 2)), int(rng.choice([0, 1, 2, 9])))
    encoded = coco.frPyObjects([corners.ravel().tolist()], height, width)
    expected = coco.decode(coco.merge(encoded)).astype(bool)
    if expected.any():
        assert (drawn((corners,), (height, width)) == expected).all()
    else:
        with pytest.raises(ValueError, match=r"outside|no pixel"):
            drawn((corners,), (height, width))


def test_only_the_part_that_a_shape_covers_is_kept():
    assert rasterize(box(100, 200, 110, 205), (1000, 1000)).pixels.size < 200
    lengths = [5_000, 10, 1_000_000 - 5_010]
    assert rasterize(Run((1000, 1000), lengths, by_columns=False), (1000, 1000)).pixels.shape == (1, 10)


def test_an_ellipse_has_the_area_of_one_and_is_turned_clockwise():
    flat = drawn((ellipse(50, 50, 30, 10),), (100, 100))
    assert flat.sum() == pytest.approx(np.pi * 300, rel=0.02)
    assert flat[50, 25]
    upright = drawn((ellipse(50, 50, 30, 10, degrees=90),), (100, 100))
    assert (upright == flat.T).mean() > 0.99
    slanted = drawn((ellipse(50, 50, 30, 5, degrees=45),), (100, 100))
    assert slanted[65, 65]  # to the lower right, as y points down
    assert not slanted[35, 65]


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ([1, 2, 3], "3 numbers"),
        ([[1, 2, 3]], "3 numbers"),
        (["a", 1], "other things than numbers"),
        ([[1], [1, 2]], "other things"),
    ],
)
def test_what_are_no_corners_is_refused(numbers, problem):
    with pytest.raises(ValueError, match=problem):
        corners_of(numbers)
    assert corners_of([1, 2, 3, 4]).tolist() == corners_of([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
