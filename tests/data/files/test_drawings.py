"""Drawn masks, compared to pixels worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from segtrain.data.files.drawings import IGNORED, Drawing, Found, Region, by_class
from segtrain.data.files.rasterize import rectangle


def box(left, top, right, bottom):
    return (rectangle(left, top, right, bottom),)


def drawing(*regions, **options):
    return Drawing(Path("labels.json"), lambda size: Found(list(regions), []), "1", **options)


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
    crowd = Region(IGNORED, box(0, 0, 4, 4), "crowd", beneath=True)
    values, _ = drawing(Region(1, box(0, 0, 1, 1), "person"), crowd).values((4, 4))
    assert values[0, 0] == 1
    assert (values.ravel()[1:] == IGNORED).all()


def test_a_bad_region_is_named_and_the_others_are_drawn():
    bad = Region(1, (np.zeros((2, 2), float),), "annotation 7")
    values, problems = drawing(bad, Region(2, box(0, 0, 1, 1), "annotation 8")).values((2, 2))
    assert problems == ["annotation 7: a polygon of 2 points, expected three or more"]
    assert values.tolist() == [[2, 0], [0, 0]]


def test_classes_that_overlap_are_drawn_apart():
    small, large = by_class(drawing(*regions_that_overlap()), [[1], [2]])
    assert small.values((4, 4))[0].sum() == 4
    assert large.values((4, 4))[0].sum() == 16
    assert small.stamp != large.stamp


def test_what_is_drawn_as_background_or_ignored_is_so_for_every_class():
    regions = Region(1, box(0, 0, 4, 4), "a"), Region(0, box(0, 0, 2, 2), "b"), Region(IGNORED, box(2, 2, 4, 4), "c")
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, IGNORED, IGNORED], [1, 1, IGNORED, IGNORED]]
    assert drawing(*regions).values((4, 4))[0].tolist() == expected
    assert by_class(drawing(*regions), [[1]])[0].values((4, 4))[0].tolist() == expected
