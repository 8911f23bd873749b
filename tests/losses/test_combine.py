import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import BCELoss, DiceLoss, WeightedSum
from segtrain.task import Binary


@pytest.fixture
def combined(case):
    terms = {
        "bce": {"weight": 0.5, "loss": BCELoss(case.task)},
        "dice": {"weight": 2.0, "loss": DiceLoss(case.task)},
    }
    return WeightedSum(case.task, terms=terms)


def test_the_sum_is_weighted(combined, case):
    bce, dice = BCELoss(case.task), DiceLoss(case.task)
    expected = 0.5 * bce(case.logits, case.target) + 2 * dice(case.logits, case.target)
    torch.testing.assert_close(combined(case.logits, case.target), expected)


def test_the_last_terms_are_kept_detached_and_unweighted(combined, case):
    combined(case.logits.requires_grad_(), case.target)
    assert list(combined.last_terms) == ["bce", "dice"]
    assert combined.last_terms["dice"] == DiceLoss(case.task)(case.logits, case.target)
    assert not any(term.requires_grad for term in combined.last_terms.values())


def test_buffers_of_the_terms_move_along():
    terms = {"bce": {"weight": 1.0, "loss": BCELoss(Binary(), pos_weight=2.0)}}
    moved = WeightedSum(Binary(), terms=terms).to(torch.float64)
    assert [buffer.dtype for buffer in moved.buffers()] == [torch.float64]


def test_a_term_without_a_weight_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.terms\.dice: holds loss, expected weight and loss"):
        WeightedSum(Binary(), terms={"dice": {"loss": DiceLoss(Binary())}})


def test_no_terms_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.terms: no term has a weight, .*; set loss=dice"):
        WeightedSum(Binary(), terms={})


def test_weights_of_zero_are_answered_with_the_line_to_type():
    terms = {"dice": {"weight": 0.0, "loss": DiceLoss(Binary())}}
    with pytest.raises(ConfigError, match=r"loss\.terms: no term has a weight, .*; set loss\.terms\.dice\.weight=1"):
        WeightedSum(Binary(), terms=terms)


def test_a_weight_below_zero_is_refused():
    terms = {"dice": {"weight": -1.0, "loss": DiceLoss(Binary())}}
    with pytest.raises(ConfigError, match=r"loss\.terms\.dice\.weight: -1 is out of range"):
        WeightedSum(Binary(), terms=terms)


def test_a_term_that_weighs_nothing_is_not_computed(case):
    terms = {"bce": {"weight": 0, "loss": BCELoss(case.task)}, "dice": {"weight": 1, "loss": DiceLoss(case.task)}}
    loss = WeightedSum(case.task, terms=terms)
    assert loss(case.logits, case.target) == DiceLoss(case.task)(case.logits, case.target)
    assert list(loss.last_terms) == ["dice"]
