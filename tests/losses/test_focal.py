import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from segtrain.errors import ConfigError
from segtrain.losses import FocalLoss, cross_entropy_loss, focal_loss
from segtrain.task import Binary


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_focal_is_that_of_torchvision(full_case, gamma, alpha):
    truth = full_case.target.view_as(full_case.logits).float()
    theirs = sigmoid_focal_loss(
        full_case.logits, truth, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean"
    )
    ours = focal_loss(full_case.logits, full_case.target, full_case.task, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(ours, theirs)


def test_multiclass_weighs_the_cross_entropy_of_the_softmax(make_case):
    case = make_case("multiclass", ignored=False)
    nll = F.cross_entropy(case.logits, case.target, reduction="none")
    expected = ((1 - (-nll).exp()) ** 2 * nll).mean()
    torch.testing.assert_close(focal_loss(case.logits, case.target, case.task), expected)


def test_gamma_zero_is_cross_entropy(case):
    expected = cross_entropy_loss(case.logits, case.target, case.task)
    torch.testing.assert_close(focal_loss(case.logits, case.target, case.task, gamma=0.0), expected)


def test_alpha_halves_what_one_half_weighs(case):
    plain = focal_loss(case.logits, case.target, case.task)
    torch.testing.assert_close(focal_loss(case.logits, case.target, case.task, alpha=0.5), plain / 2)


def test_a_gamma_below_one_has_a_finite_gradient_at_certainty(case):
    logits = (case.layout * 1e4).requires_grad_()
    focal_loss(logits, case.target, case.task, gamma=0.5).backward()
    assert logits.grad.isfinite().all()


def test_a_subset_is_the_mean_over_the_pixels_of_these_classes(make_case):
    case = make_case("multiclass")
    expected = focal_loss(case.logits, case.target.where(case.target == 1, 255), case.task)
    torch.testing.assert_close(FocalLoss(case.task, classes=["cat"])(case.logits, case.target), expected)


def test_module_and_function_agree(case):
    module = FocalLoss(case.task, gamma=1.5, alpha=0.3)(case.logits, case.target)
    assert module == focal_loss(case.logits, case.target, case.task, gamma=1.5, alpha=0.3)


@pytest.mark.parametrize(("option", "value"), [("gamma", -1.0), ("alpha", 2.0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"loss\.{option}: {value:g} is out of range, expected 0 <= {option}"):
        FocalLoss(Binary(), **{option: value})
