import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain.errors import DataError
from segtrain.metrics import count_boundary, iou, macro
from segtrain.task import Binary
from tests.metrics.cases import MODES, SEEDS, equal, random_maps


def square(side: int, *, image: int = 40, at: int = 10) -> torch.Tensor:
    """A square of foreground in an image of background."""
    maps = torch.zeros(1, image, image, dtype=torch.int64)
    maps[:, at : at + side, at : at + side] = 1
    return maps


def boundary_iou(prediction, target, reach):
    width = reach / np.hypot(*target.shape[-2:])
    return iou(count_boundary(prediction, target, Binary(), width=width)).item()


def test_a_shifted_square_by_hand():
    truth, shifted = square(20), square(20).roll(1, -1)
    ring, common = 4 * 19, 2 * 19  # both sides moved off each other, top and bottom along each other
    assert boundary_iou(shifted, truth, 1) == common / (2 * ring - common)


@settings(max_examples=25)
@given(seed=SEEDS, reach=st.integers(1, 3))
def test_the_band_is_what_reaches_the_outside(seed, reach):
    rng = np.random.default_rng(seed)
    truth, guess = (torch.from_numpy((rng.random((1, 12, 9)) < 0.8).astype(np.int64)) for _ in range(2))
    bands = [_band(maps[0].numpy() == 1, reach) for maps in (truth, guess)]
    counts = count_boundary(guess, truth, Binary(), width=reach / np.hypot(12, 9))
    assert counts.tp.item() == (bands[0] & bands[1]).sum()
    assert counts.fn.item() == (bands[0] & ~bands[1]).sum()
    assert counts.fp.item() == (~bands[0] & bands[1]).sum()
    assert counts.tn.item() == (~bands[0] & ~bands[1]).sum()


def _band(region, reach):
    """Take each pixel of the region whose window of that reach holds anything but the region."""
    padded = np.pad(region, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return region & ~windows.all((2, 3))


@pytest.mark.parametrize("mode", MODES)
def test_a_perfect_prediction_scores_one(mode):
    task, _, target = random_maps(mode, 0)
    prediction = target.where(target != 255, 0)
    assert macro(count_boundary(prediction, target, task), iou) == 1


def test_the_inside_of_an_object_does_not_matter():
    truth = square(20)
    hollow = truth.clone()
    hollow[:, 18:22, 18:22] = 0
    assert boundary_iou(hollow, truth, 2) < 1
    assert boundary_iou(square(20), truth, 2) == 1


def test_a_boundary_is_harder_than_its_region():
    truth, shifted = square(20), square(20).roll(2, -1)
    region = (truth & shifted).sum() / (truth | shifted).sum()
    assert boundary_iou(shifted, truth, 2) < region


def test_ignored_pixels_do_not_count_and_end_truth_and_prediction_alike():
    truth = square(20)
    truth[:, :, 20:] = 255
    counts = count_boundary(square(20), truth, Binary(), width=1 / np.hypot(40, 40))
    assert counts.tp.item() == 10 + 10 + 20 + 20 - 4  # around the half that is known
    assert (counts.fp + counts.fn).item() == 0
    assert counts.decided.item() == 40 * 20


def test_within_a_ring_of_ignored_pixels_a_prediction_is_the_worse_the_more_it_is_off():
    truth = square(20).where(square(20) == square(24, at=8), 255)
    sizes = {20: 10, 24: 8, 18: 11, 12: 14, 32: 4}
    found = {side: boundary_iou(square(side, at=at), truth, 2) for side, at in sizes.items()}
    assert found[20] == found[24] == 1
    assert 1 > found[18] > found[12] == 0
    assert 1 > found[32] > 0


def test_what_is_predicted_at_ignored_pixels_does_not_matter():
    for mode in MODES:
        task, prediction, target = random_maps(mode, 1)
        other = prediction.where(target != 255, 255)
        assert equal(count_boundary(other, target, task), count_boundary(prediction, target, task))


def test_the_width_is_two_percent_of_the_diagonal_and_at_least_a_pixel():
    assert count_boundary(square(20), square(20), Binary()).tp.item() == 4 * 19
    large = square(60, image=100)
    assert count_boundary(large, large, Binary()).tp.item() == 60**2 - 54**2


def test_a_wrong_label_is_refused():
    with pytest.raises(DataError, match="target holds 9"):
        count_boundary(square(3), square(3) * 9, Binary())


@pytest.mark.parametrize("width", [-1, 0, 1.5])
def test_a_width_that_is_no_share_of_the_diagonal_is_refused(width):
    mask = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="expected a share of the image's diagonal"):
        count_boundary(mask, mask, Binary(), width=width)
