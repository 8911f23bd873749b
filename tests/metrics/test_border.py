"""IoU by distance from the contour: against distances computed pixel by pixel, and by hand."""

import numpy as np
import pytest
import torch

from segtrain.metrics import count, count_by_distance, iou
from segtrain.metrics.border import contour_distance
from segtrain.task import IGNORE_INDEX, Binary, make_task


def random_blobs(seed, shape=(14, 11)):
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.random((2, *shape)) < 0.6).astype(np.int64))


def slow_distance(region):
    """The distance of each pixel to the nearest one that is on the other side."""
    found = np.full(region.shape, np.inf)
    for place in np.ndindex(*region.shape):
        others = np.argwhere(region != region[place])
        if len(others):
            found[place] = np.sqrt(((others - place) ** 2).sum(1)).min()
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_that_to_the_nearest_pixel_on_the_other_side(seed):
    region = random_blobs(seed)[0].numpy() == 1
    np.testing.assert_allclose(contour_distance(region), slow_distance(region), rtol=1e-5)


@pytest.mark.parametrize("full", [False, True])
def test_without_a_contour_all_is_far(full):
    assert np.isinf(contour_distance(np.full((4, 5), full))).all()


@pytest.mark.parametrize("seed", range(3))
def test_bands_are_what_a_slow_loop_counts(seed):
    truth, guess = random_blobs(seed), random_blobs(seed + 10)
    truth[:, :2] = IGNORE_INDEX
    counts = count_by_distance(guess, truth, Binary(), distances=(1, 2, 4))
    for image in range(2):
        distance, valid = slow_distance(truth[image].numpy() == 1), truth[image].numpy() != IGNORE_INDEX
        for band, (low, high) in enumerate([(0, 1), (1, 2), (2, 4), (4, np.inf)]):
            held = torch.from_numpy(valid & (distance > low) & (distance <= high))
            true, said = truth[image][held] == 1, guess[image][held] == 1
            found = [int(getattr(counts, kind)[image, 0, band]) for kind in ("tp", "fp", "fn", "tn")]
            pairs = [true & said, ~true & said, true & ~said, ~true & ~said]
            assert found == [int(each.sum()) for each in pairs]


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_all_bands_together_are_the_counts_of_the_image(mode):
    task = make_task(mode, ["a", "b", "c"])
    shape, labels = ((2, 9, 8), 3) if mode == "multiclass" else ((2, 3, 9, 8), 2)
    rng = torch.Generator().manual_seed(0)
    truth, guess = (torch.randint(labels, shape, generator=rng) for _ in range(2))
    bands, whole = count_by_distance(guess, truth, task), count(guess, truth, task)
    assert all(torch.equal(getattr(bands, kind).sum(-1), getattr(whole, kind)) for kind in ("tp", "fp", "fn", "tn"))


def test_an_outline_that_is_off_by_one_costs_near_the_contour_alone():
    truth = torch.zeros(1, 40, 40, dtype=torch.int64)
    truth[:, 10:30, 10:30] = 1
    values = iou(count_by_distance(truth.roll(1, -1), truth, Binary(), distances=(1, 4)))[0, 0]
    assert values[0] < 0.7
    assert values[1:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("distances", [(), (0, 1), (2, 1), (1, 1)])
def test_distances_have_to_ascend(distances):
    with pytest.raises(ValueError, match="expected pixels that ascend"):
        count_by_distance(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).long(), Binary(), distances=distances)
