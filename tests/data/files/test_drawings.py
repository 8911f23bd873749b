"""Drawn masks, compared to pixels worked out by hand and to the COCO API."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from segtrain.data.files.drawings import IGNORED, Box, Drawing, Encoded, Found, Region, Run, by_class, rasterize


def box(left, top, right, bottom):
    return (np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32),)


def drawing(*regions, **options):
    return Drawing(Path("labels.json"), lambda size: Found(list(regions), []), "1", **options)


def test_a_box_of_whole_pixels_holds_just_those():
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:5] = True
    assert (rasterize(box(2, 1, 5, 3), (5, 6)) == expected).all()


def test_polygons_of_one_region_are_united():
    shape = (*box(0, 0, 2, 2), *box(1, 1, 3, 3))
    expected = np.zeros((4, 4), bool)
    expected[:2, :2] = expected[1:3, 1:3] = True
    assert (rasterize(shape, (4, 4)) == expected).all()


def test_what_is_outside_the_image_is_cut_off():
    assert rasterize(box(-5, -5, 2, 2), (4, 4)).sum() == 4
    assert rasterize(box(10, 10, 12, 12), (4, 4)).sum() == 0


def test_run_lengths_count_down_columns_or_along_rows():
    lengths = [1, 2, 3]  # 0 1 1 0 0 0
    assert (rasterize(Run((2, 3), lengths, by_columns=True), (2, 3)) == [[0, 1, 0], [1, 0, 0]]).all()
    assert (rasterize(Run((2, 3), lengths, by_columns=False), (2, 3)) == [[0, 1, 1], [0, 0, 0]]).all()


@pytest.mark.parametrize("seed", range(5))
def test_compressed_run_lengths_are_those_of_the_coco_api(seed):
    mask = np.random.default_rng(seed).random((37, 23)) > [0.5, 0.9, 0.1, 0.99, 0.0][seed]
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert (rasterize(Encoded((37, 23), text), (37, 23)) == mask).all()


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (Run((2, 3), [1, 2], True), "run lengths of 3 pixels, expected 6"),
        (Run((2, 3), [-1, 7], True), "run lengths of 6 pixels, expected 6"),
        (Run((3, 3), [9], True), "run lengths for 3x3 pixels, but the image has 3x2"),
        (Encoded((2, 3), b"~~~"), "invalid compressed run lengths"),
        (Encoded((2, 3), coco.encode(np.asfortranarray(np.ones((9, 9), np.uint8)))["counts"]), "run lengths of 81"),
        ((np.zeros((2, 2), np.float32),), "a polygon of 2 points, expected three or more"),
        ((np.full((3, 2), np.nan, np.float32),), "NaN or infinite corners"),
        ((), "no polygon"),
    ],
)
def test_what_is_no_shape_is_refused(shape, problem):
    with pytest.raises(ValueError, match=problem):
        rasterize(shape, (2, 3))


def test_a_part_of_the_image_is_pasted_at_its_place_and_cut_at_the_border():
    region = rasterize(Box(1, 2, np.array([[True, False], [True, True]])), (3, 3))
    assert (region == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]).all()


def regions_that_overlap():
    return [Region(1, box(0, 0, 2, 2), "small"), Region(2, box(0, 0, 4, 4), "large")]


@pytest.mark.parametrize(("overlap", "corner"), [("last", 2), ("smallest", 1), ("ignore", IGNORED)])
def test_who_gets_the_pixels_of_two_regions(overlap, corner):
    values, problems = drawing(*regions_that_overlap(), overlap=overlap).values((4, 4))
    assert problems == []
    assert values[0, 0] == corner
    assert values[3, 3] == 2
    values, _ = drawing(*reversed(regions_that_overlap()), overlap=overlap).values((4, 4))
    assert values[0, 0] == {"last": 1, "smallest": 1, "ignore": IGNORED}[overlap]


def test_a_crowd_is_ignored_but_not_what_is_in_it():
    crowd = Region(IGNORED, box(0, 0, 4, 4), "crowd")
    values, _ = drawing(Region(1, box(0, 0, 1, 1), "person"), crowd).values((4, 4))
    assert values[0, 0] == 1
    assert (values.ravel()[1:] == IGNORED).all()


def test_a_bad_region_is_named_and_the_others_are_drawn():
    bad = Region(1, (np.zeros((2, 2), np.float32),), "annotation 7")
    values, problems = drawing(bad, Region(2, box(0, 0, 1, 1), "annotation 8")).values((2, 2))
    assert problems == ["annotation 7: a polygon of 2 points, expected three or more"]
    assert values.tolist() == [[2, 0], [0, 0]]


def test_classes_that_overlap_are_drawn_apart():
    small, large = by_class(drawing(*regions_that_overlap()), [[1], [2]])
    assert small.values((4, 4))[0].sum() == 4
    assert large.values((4, 4))[0].sum() == 16
    assert small.stamp != large.stamp
