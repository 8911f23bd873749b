"""Regions of a label map: outlines along the edges of pixels, which give the same pixels again."""

import numpy as np
import pytest

from segtrain.data.annotating.regions import annotated_names, area_of, find_regions
from segtrain.data.files.rasterize import rasterize
from segtrain.task import make_task
from tests.data.annotating.scenes import SIZE, TASK, labels_of


def drawn(polygon, size=SIZE):
    box = rasterize((polygon,), size)
    whole = np.zeros(size, bool)
    whole[box.place] = box.pixels
    return whole


def painted(regions):
    """Draw outlines, and what lies in a hole as no pixel of it."""
    found = np.zeros((3, *SIZE), bool)
    for region in regions:
        pixels = drawn(region.outline)
        for hole in region.holes:
            pixels &= ~drawn(hole)
        found[region.number] |= pixels
    return found


@pytest.mark.parametrize("seed", range(4))
def test_outlines_and_holes_give_the_pixels_again(seed):
    labels = labels_of(seed)
    regions = list(find_regions(labels, TASK))
    assert any(region.holes for region in regions)
    expected = np.stack([labels == label for label in (1, 2, 3)])
    assert (painted(regions) == expected).all()
    masks = np.zeros_like(expected)
    for region in regions:
        height, width = region.mask.shape
        masks[region.number, region.top : region.top + height, region.left : region.left + width] |= region.mask
        outer = area_of(region.outline) - sum(map(area_of, region.holes))
        assert outer == region.area == np.count_nonzero(region.mask)
    assert (masks == expected).all()


def test_small_regions_and_holes_are_left_out():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:12, 2:12] = 1
    labels[5, 5], labels[8:11, 8:11] = 0, 0
    labels[15, 15] = 1
    (region,) = find_regions(labels, make_task("binary", ["a"]), min_area=4)
    assert [area_of(hole) for hole in region.holes] == [9]
    assert len(list(find_regions(labels, make_task("binary", ["a"])))) == 2


def test_a_tolerance_gives_fewer_corners():
    y, x = np.mgrid[:60, :60]
    disc = ((x - 30) ** 2 + (y - 30) ** 2 < 400).astype(np.uint8)
    (exact,), (simple,) = (list(find_regions(disc, make_task("binary", ["a"]), tolerance=each)) for each in (0.0, 1.5))
    assert len(simple.outline) < len(exact.outline) / 3
    both, either = (drawn(simple.outline, (60, 60)) & (disc == 1)), (drawn(simple.outline, (60, 60)) | (disc == 1))
    assert both.sum() / either.sum() > 0.9


@pytest.mark.parametrize(
    ("mode", "classes", "expected"),
    [
        ("multiclass", ["background", "a"], ("a",)),
        ("multiclass", ["sky", "a"], ("sky", "a")),
        ("binary", ["a"], ("a",)),
        ("multilabel", ["background", "a"], ("background", "a")),
    ],
)
def test_a_background_is_no_region(mode, classes, expected):
    assert annotated_names(make_task(mode, classes)) == expected


def test_classes_that_overlap_have_regions_of_their_own():
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[0, 1:5], masks[1, 3:7] = 1, 1
    first, second = find_regions(masks, make_task("multilabel", ["a", "b"]))
    assert (first.number, first.area, second.number, second.area) == (0, 32, 1, 32)
