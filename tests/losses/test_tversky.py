import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import (
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    TverskyLoss,
    dice_loss,
    focal_tversky_loss,
    tversky_loss,
)
from segtrain.task import Binary

OPTIONS = [{}, {"alpha": 0.1, "beta": 2.0}, {"smooth": 5.0, "per_image": True}]


@pytest.mark.parametrize(("weight", "same"), [(0.5, DiceLoss), (1.0, JaccardLoss)])
def test_equal_weights_give_dice_and_jaccard(case, weight, same):
    ours = tversky_loss(case.logits, case.target, case.task, alpha=weight, beta=weight)
    torch.testing.assert_close(ours, same(case.task)(case.logits, case.target))


def test_alpha_weighs_false_positives_and_beta_false_negatives():
    target = torch.tensor([[[1, 1, 1, 0, 0]]])
    logits = torch.tensor([[[[50.0, 50.0, -50.0, 50.0, -50.0]]]])  # 2 found, 1 missed, 1 false alarm
    loss = tversky_loss(logits, target, Binary(), alpha=0.2, beta=0.9)
    assert loss.item() == pytest.approx(1 - 2 / (2 + 0.2 + 0.9))


def test_a_gamma_of_one_is_tversky(case):
    ours = focal_tversky_loss(case.logits, case.target, case.task, gamma=1.0)
    torch.testing.assert_close(ours, tversky_loss(case.logits, case.target, case.task))


def test_gamma_roots_the_loss_of_each_class(make_case):
    case = make_case("multilabel")
    each = [tversky_loss(case.logits[:, [i]], case.target[:, i], Binary()) for i in range(2)]
    ours = focal_tversky_loss(case.logits, case.target, case.task, gamma=2.0)
    torch.testing.assert_close(ours, torch.stack(each).sqrt().mean())


def test_the_log_form_is_the_exponential_logarithmic_loss(make_case):
    """Wong et al. 2018: the mean over classes of (-log Dice)^0.3."""
    case = make_case("multilabel")
    each = [dice_loss(case.logits[:, [i]], case.target[:, i], Binary(), log=True) for i in range(2)]
    options = {"gamma": 1 / 0.3, "alpha": 0.5, "beta": 0.5, "log": True}
    ours = focal_tversky_loss(case.logits, case.target, case.task, **options)
    torch.testing.assert_close(ours, torch.stack(each).pow(0.3).mean())


@pytest.mark.parametrize("log", [False, True])
def test_the_gradient_of_the_root_is_finite_at_the_right_answer(case, log):
    logits = (case.layout * 1e4).requires_grad_()
    focal_tversky_loss(logits, case.target, case.task, gamma=3.0, log=log).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("options", [*OPTIONS, {"log": True}])
def test_module_and_function_agree(case, options):
    ours = TverskyLoss(case.task, **options)(case.logits, case.target)
    assert ours == tversky_loss(case.logits, case.target, case.task, **options)


@pytest.mark.parametrize("options", [*OPTIONS, {"gamma": 2.5}, {"log": True}])
def test_focal_module_and_function_agree(case, options):
    ours = FocalTverskyLoss(case.task, **options)(case.logits, case.target)
    assert ours == focal_tversky_loss(case.logits, case.target, case.task, **options)


@pytest.mark.parametrize("kind", [TverskyLoss, FocalTverskyLoss])
def test_mistakes_that_all_cost_nothing_are_refused(kind):
    with pytest.raises(
        ConfigError, match=r"loss\.beta: 0 beside loss\.alpha=0, where nothing costs anything; set loss"
    ):
        kind(Binary(), alpha=0.0, beta=0.0)


@pytest.mark.parametrize(("kind", "option"), [(TverskyLoss, "beta"), (FocalTverskyLoss, "gamma")])
def test_options_out_of_range_are_refused(kind, option):
    with pytest.raises(ConfigError, match=rf"loss\.{option}: -1 is out of range, expected \d <= {option}; set loss\."):
        kind(Binary(), **{option: -1.0})
