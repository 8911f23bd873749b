import pytest
import torch
import torch.nn.functional as F

from segtrain.errors import ConfigError
from segtrain.losses import BCELoss, bce_loss
from segtrain.task import Binary, Multilabel


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_bce_is_that_of_torch(full_case):
    truth = full_case.target.view_as(full_case.logits).float()
    expected = F.binary_cross_entropy_with_logits(full_case.logits, truth)
    torch.testing.assert_close(bce_loss(full_case.logits, full_case.target, full_case.task), expected)


def test_multiclass_is_one_against_the_rest(make_case):
    case = make_case("multiclass", ignored=False)
    truth = F.one_hot(case.target, 3).movedim(-1, 1).float()
    expected = F.binary_cross_entropy_with_logits(case.logits, truth)
    torch.testing.assert_close(bce_loss(case.logits, case.target, case.task), expected)


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_a_subset_is_the_mean_over_these_channels(full_case):
    channel = full_case.task.class_names.index("cat")
    truth = full_case.task.one_hot(full_case.target, full_case.logits)
    expected = F.binary_cross_entropy_with_logits(full_case.logits[:, channel], truth[:, channel])
    torch.testing.assert_close(BCELoss(full_case.task, classes=["cat"])(full_case.logits, full_case.target), expected)


def test_pos_weight_is_that_of_torch(make_case):
    case = make_case("multilabel", ignored=False)
    weight = torch.tensor([2.0, 5.0])
    expected = F.binary_cross_entropy_with_logits(case.logits, case.target.float(), pos_weight=weight.view(2, 1, 1))
    torch.testing.assert_close(BCELoss(case.task, pos_weight=[2.0, 5.0])(case.logits, case.target), expected)


@pytest.mark.parametrize("weight", [3, 3.0])
def test_one_pos_weight_serves_all_classes(case, weight):
    every = BCELoss(case.task, pos_weight=[3.0] * case.task.out_channels)
    assert BCELoss(case.task, pos_weight=weight)(case.logits, case.target) == every(case.logits, case.target)


def test_smoothing_moves_the_truth_towards_one_half():
    logits = torch.tensor([[[[2.0]]]])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[[[0.9]]]]))
    ours = bce_loss(logits, torch.tensor([[[1]]]), Binary(), label_smoothing=0.2)
    torch.testing.assert_close(ours, expected)


def test_module_and_function_agree(case):
    weights = [float(i + 1) for i in range(case.task.out_channels)]
    module = BCELoss(case.task, pos_weight=weights, label_smoothing=0.1)(case.logits, case.target)
    assert module == bce_loss(
        case.logits, case.target, case.task, pos_weight=torch.tensor(weights), label_smoothing=0.1
    )


def test_a_class_that_would_cost_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.pos_weight: 0 is out of range, expected 0 < pos_weight"):
        BCELoss(Multilabel(["cat", "dog"]), pos_weight=0.0)


def test_the_wrong_number_of_weights_names_the_classes():
    with pytest.raises(ConfigError, match=r"loss\.pos_weight: 1 weights, expected 2, one each for cat, dog"):
        BCELoss(Multilabel(["cat", "dog"]), pos_weight=[1.0])
