"""Regions of a label map: outlines along the edges of pixels, which give the same pixels again."""

import subprocess
import sys

import cv2
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


def outlines_in_twice_the_size(pixels):
    """Trace the outline, then the holes, in a picture whose pixels lie on either side of each edge of this one."""
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1).view(np.uint8)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for _, contour in sorted(enumerate(contours), key=lambda each: tree[0][each[0]][3] >= 0):
        points = (contour[:, 0] + 1) // 2
        points = points[(points != np.roll(points, 1, axis=0)).any(1)]
        before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        yield points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_corners_are_those_of_a_picture_of_twice_the_size_without_its_memory(seed):
    rng = np.random.default_rng(seed)
    seen = {"pixel": 0, "hole": 0, "line": 0}
    for _ in range(60):
        labels = (rng.random(rng.integers(1, 16, 2)) < rng.uniform(0.2, 0.9)).astype(np.uint8)
        for region in find_regions(labels, make_task("binary", ["a"])):
            expected = list(outlines_in_twice_the_size(np.pad(region.mask, 1)))
            found = [region.outline, *region.holes]
            assert len(found) == len(expected)
            for ours, theirs in zip(found, expected, strict=True):
                assert np.array_equal(ours - (region.left, region.top), theirs - 1)
            seen["pixel"] += region.area == 1
            seen["hole"] += len(region.holes)
            seen["line"] += region.area > 1 and 1 in region.mask.shape
    assert min(seen.values()) > 10, seen


_LARGE = """
import re
from pathlib import Path
import numpy as np
from segtrain.data.annotating.regions import find_regions
from segtrain.task import make_task
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
labels = np.ones((5000, 5000), np.uint8)
labels[9:99, 9:99] = 0
before = peak()  # and not ru_maxrss, which counts what the process was before
(region,) = find_regions(labels, make_task("binary", ["a"]))
assert len(region.holes) == 1
print((peak() - before) / labels.size)
"""


def test_a_large_region_takes_eight_bytes_a_pixel_at_most():
    """Of 12000x12000 pixels it is a gigabyte: four bytes are its number, one its mask, one is OpenCV's own."""
    done = subprocess.run([sys.executable, "-c", _LARGE], capture_output=True, text=True, check=True)
    assert 4 < float(done.stdout) < 8


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
