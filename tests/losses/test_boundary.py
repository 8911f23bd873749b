import math
from itertools import pairwise

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import BoundaryLoss, boundary_loss, dice_loss
from segtrain.losses.boundary import signed_distance
from segtrain.task import Binary

monai = pytest.importorskip("monai", minversion="1.6", reason="MONAI 1.6 is for Python 3.11 or newer")


def test_the_boundary_runs_between_two_pixels():
    truth = torch.tensor([[[[False, False, True, True, True, False]]]])
    distance = signed_distance(truth, torch.ones_like(truth)) * math.hypot(1, 6)
    torch.testing.assert_close(distance.flatten(), torch.tensor([1.5, 0.5, -0.5, -1.5, -0.5, 0.5]))


def test_no_boundary_runs_along_what_is_ignored():
    truth = torch.tensor([[[[False, False, False, True, True]]]])
    valid = torch.tensor([[[[True, True, False, True, True]]]])
    distance = signed_distance(truth, valid) * math.hypot(1, 5)
    assert distance.flatten()[[0, 1, 3, 4]].tolist() == pytest.approx([2.5, 1.5, -1.5, -2.5])


@pytest.mark.parametrize("label", [0, 1])
def test_in_a_mask_without_a_boundary_each_wrong_pixel_costs_one(label):
    logits = torch.tensor([[[[50.0, -50.0, -50.0, -50.0]]]]) * (1 - 2 * label)
    assert boundary_loss(logits, torch.full((1, 1, 4), label), Binary(), alpha=1.0).item() == pytest.approx(1 / 4)


def test_a_false_alarm_costs_more_the_further_out_it_is():
    target = torch.zeros(1, 9, 9, dtype=torch.long)
    target[0, 4, 4] = 1
    losses = []
    for place in (4, 5, 6, 7, 8):
        logits = (Binary().one_hot(target, torch.zeros(1, 1, 9, 9)) * 2 - 1) * 50
        logits[0, 0, 4, place] = 50
        losses.append(boundary_loss(logits, target, Binary(), alpha=1.0).item())
    assert losses[0] == pytest.approx(0, abs=1e-6)
    steps = [after - before for before, after in pairwise(losses)]
    assert steps[0] == pytest.approx(0.5 / math.hypot(9, 9) / 81)
    assert steps[1:] == pytest.approx([1 / math.hypot(9, 9) / 81] * 3)


def test_it_differs_from_that_of_monai_by_half_a_pixel_the_unit_and_a_constant(full_case, mode, value_and_grad):
    """MONAI's pixels along the inner side of the boundary cost nothing, and its minimum is below 0 by the truth's sum.

    Half a pixel less everywhere lets them cost something; the constant of the paper's equation 5 sets the minimum to 0;
    in units of the diagonal, a weight in a sum means the same at every image size.
    """
    theirs = monai.losses.BoundaryLoss(**{"softmax" if mode == "multiclass" else "sigmoid": True})
    truth = full_case.task.one_hot(full_case.target, full_case.logits)
    constant = (theirs.compute_distance_map(truth) * truth).mean()

    def expected(logits, target):
        half_a_pixel = 0.5 * (full_case.task.activation(logits) - truth).mean()
        return (theirs(logits, truth) - constant - half_a_pixel) / math.hypot(*truth.shape[-2:])

    ours = value_and_grad(BoundaryLoss(full_case.task, alpha=1.0), full_case.logits, full_case.target)
    torch.testing.assert_close(ours, value_and_grad(expected, full_case.logits, full_case.target), atol=1e-6, rtol=1e-5)


def test_alpha_mixes_it_with_dice(case):
    pure = boundary_loss(case.logits, case.target, case.task, alpha=1.0)
    dice = dice_loss(case.logits, case.target, case.task)
    mixed = boundary_loss(case.logits, case.target, case.task, alpha=0.3)
    torch.testing.assert_close(mixed, 0.7 * dice + 0.3 * pure)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.9, "per_image": True}])
def test_module_and_function_agree(case, options):
    ours = BoundaryLoss(case.task, **options)(case.logits, case.target)
    assert ours == boundary_loss(case.logits, case.target, case.task, **options)


def test_a_share_above_one_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.alpha: 1\.5 is out of range, expected 0 <= alpha <= 1"):
        BoundaryLoss(Binary(), alpha=1.5)
