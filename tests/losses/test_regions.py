"""Soft areas of a prediction that can be worked out by hand."""

import math

import pytest
import torch

from segtrain.losses.regions import Regions, overlap_loss, score_absent, shortfall, soft_regions
from segtrain.task import IGNORE_INDEX, Binary, Multiclass

P = math.log(3)
"""The logit of a probability of 3/4."""


def test_areas_of_a_binary_task_leave_out_what_is_ignored():
    logits = torch.tensor([[[[P, P], [-P, 0.0]]]])  # 3/4, 3/4, 1/4, 1/2
    target = torch.tensor([[[1, 0], [1, IGNORE_INDEX]]])
    found = soft_regions(logits, target, Binary())
    expected = Regions(*(torch.tensor([value]) for value in (1.0, 1.75, 2.0, 3.0)))
    torch.testing.assert_close(tuple(found), tuple(expected))


def test_areas_per_image_add_up_to_those_of_the_batch():
    torch.manual_seed(0)
    task, logits, target = Multiclass(["a", "b", "c"]), torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    by_image, whole = (soft_regions(logits, target, task, per_image=each) for each in (True, False))
    for one, other in zip(by_image, whole, strict=True):
        assert one.shape == (2, 3)
        torch.testing.assert_close(one.sum(0), other)
    assert whole.predicted.sum().item() == pytest.approx(32)
    assert whole.valid.tolist() == [32, 32, 32]


def regions(true, predicted, valid):
    return Regions(torch.zeros(len(true)), torch.tensor(predicted), torch.tensor(true), torch.tensor(valid))


def test_a_class_that_is_absent_scores_the_share_of_pixels_that_were_not_predicted_as_it():
    found = score_absent(torch.tensor([0.25, 0.0]), regions([4.0, 0.0], [2.0, 2.0], [8.0, 8.0]))
    assert found.tolist() == [0.25, 0.75]


def test_classes_without_a_valid_pixel_do_not_count():
    areas = regions([4.0, 0.0], [2.0, 0.0], [8.0, 0.0])
    assert float(overlap_loss(torch.tensor([0.25, 0.0]), areas)) == 0.75
    assert float(overlap_loss(torch.tensor([0.25, 0.0]), areas, log=True)) == pytest.approx(math.log(4))


def test_the_logarithm_of_a_score_of_0_is_finite():
    assert shortfall(torch.tensor(0.0), log=True).item() == pytest.approx(-math.log(1e-7))
    assert shortfall(torch.tensor(0.3), log=False).item() == pytest.approx(0.7)
