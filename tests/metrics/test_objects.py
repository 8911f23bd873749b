"""IoU of objects: by hand, and against the formula of Chan et al. written with sets of pixels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from segtrain.metrics import Objects, object_ious
from segtrain.task import IGNORE_INDEX, Binary, make_task


def maps(*rows):
    return torch.tensor([[[int(letter) for letter in row] for row in rows]])


def test_each_object_is_compared_with_what_touches_it():
    truth = maps("1100011", "1100011", "0000000", "0010000")
    guess = maps("1110000", "1100000", "0000000", "0000000")
    found = object_ious(guess, truth, Binary())
    assert found.area.tolist() == [4, 4, 1]
    assert found.iou.tolist() == [4 / 5, 0.0, 0.0]


def test_one_prediction_over_two_objects_costs_neither_for_the_other():
    truth, guess = maps("110011"), maps("111111")
    assert object_ious(guess, truth, Binary()).iou.tolist() == [2 / 4, 2 / 4]


def test_corners_connect_and_ignored_pixels_count_nowhere():
    truth, guess = maps("100", "010", "000"), maps("111", "010", "000")
    truth[0, 0, 1:] = IGNORE_INDEX
    found = object_ious(guess, truth, Binary())
    assert (found.area.tolist(), found.iou.tolist()) == ([2], [1.0])


def test_an_image_without_objects_has_none():
    found = object_ious(maps("111"), maps("000"), Binary())
    assert len(found.iou) == len(found.area) == 0


def by_sets(truth, guess):
    """SegmentMeIfYouCan: |k & K(k)| / |(k | K(k)) without A(k)|, K(k) all predicted parts that meet k."""
    (objects, count), (parts, _) = (label(mask, np.ones((3, 3))) for mask in (truth, guess))
    for number in range(1, count + 1):
        own = objects == number
        touching = np.isin(parts, np.unique(parts[own & (parts > 0)])) & (parts > 0)
        others = (objects > 0) & ~own
        yield int(own.sum()), (own & touching).sum() / ((own | touching) & ~others).sum()


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_published_formula(seed):
    rng = np.random.default_rng(seed)
    task = make_task("multiclass", ["a", "b"])
    truth, guess = (torch.from_numpy((rng.random((2, 20, 17)) < 0.35).astype(np.int64)) for _ in range(2))
    found = object_ious(guess, truth, task)
    expected = [
        (image, number, *row)
        for image in range(2)
        for number in range(2)
        for row in sorted(by_sets(truth[image].numpy() == number, guess[image].numpy() == number))
    ]
    rows = sorted(
        zip(*(getattr(found, name).tolist() for name in ("image", "class_number", "area", "iou")), strict=True)
    )
    assert len(rows) > 20
    np.testing.assert_allclose(rows, expected, rtol=1e-12)


def test_sizes_are_by_the_side_of_a_square_of_that_area():
    areas = torch.tensor([255, 256, 1023, 1024, 96**2, 256**2])
    zero = torch.zeros_like(areas)
    assert Objects(zero, zero, areas, zero.double()).sizes().tolist() == [0, 1, 1, 2, 3, 4]


def test_batches_are_put_together():
    one = object_ious(maps("101"), maps("101"), Binary())
    both = Objects.cat([one, one])
    assert both.area.tolist() == [1, 1, 1, 1]
