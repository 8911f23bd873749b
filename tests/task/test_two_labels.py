"""Binary cross-entropy and the likelihood of the true label, against the formulas as they are written."""

import math

import pytest
import torch
import torch.nn.functional as F

from segtrain.task.two_labels import as_float, binary_likelihood, binary_nll


def test_a_mask_becomes_0_and_1():
    assert as_float(torch.tensor([True, False]), torch.float64).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_it_is_the_cross_entropy_of_the_smoothed_truth_with_its_gradient(smoothing, pos_weight):
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    truth = torch.rand(2, 1, 4, 4) > 0.5
    weight = None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float64)
    found = binary_nll(logits, truth, torch.ones_like(truth), label_smoothing=smoothing, pos_weight=weight)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    soft = truth.double() * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weight, reduction="none")
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_what_is_not_known_has_neither_loss_nor_gradient():
    logits = torch.tensor([[2.0, -3.0]], requires_grad=True)
    known = torch.tensor([[True, False]])
    loss = binary_nll(logits, torch.tensor([[False, False]]), known, label_smoothing=0.1)
    loss.sum().backward()
    assert loss[0, 1].item() == 0
    assert logits.grad[0, 1].item() == 0
    assert logits.grad[0, 0].item() > 0


def test_large_logits_stay_finite():
    loss = binary_nll(torch.tensor([100.0, -100.0]), torch.tensor([False, False]), torch.tensor([True, True]))
    assert loss.tolist() == pytest.approx([100.0, 0.0], abs=1e-30)


def test_the_likelihood_is_the_probability_of_what_is_true():
    found = binary_likelihood(torch.tensor([math.log(3), math.log(3), 0.0]), torch.tensor([True, False, True]))
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25, 0.5]))
