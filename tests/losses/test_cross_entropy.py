import pytest
import torch
import torch.nn.functional as F

from segtrain.errors import ConfigError
from segtrain.losses import BCELoss, CrossEntropyLoss, cross_entropy_loss
from segtrain.task import Binary, Multiclass


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_multiclass_is_that_of_torch(make_case, smoothing):
    case = make_case("multiclass")
    theirs = F.cross_entropy(case.logits, case.target, ignore_index=255, label_smoothing=smoothing)
    ours = cross_entropy_loss(case.logits, case.target, case.task, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("weights", [[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]])
def test_weighted_multiclass_is_that_of_torch(make_case, weights):
    case = make_case("multiclass")
    theirs = F.cross_entropy(case.logits, case.target, ignore_index=255, weight=torch.tensor(weights))
    torch.testing.assert_close(CrossEntropyLoss(case.task, class_weights=weights)(case.logits, case.target), theirs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 4.0]])
def test_binary_is_a_softmax_over_zero_and_the_logit(make_case, smoothing, weights):
    case = make_case("binary")
    options = {"label_smoothing": smoothing, "class_weights": weights}
    two = torch.cat([torch.zeros_like(case.logits), case.logits], 1)
    expected = CrossEntropyLoss(Multiclass(["rest", "cat"]), **options)(two, case.target)
    torch.testing.assert_close(CrossEntropyLoss(case.task, **options)(case.logits, case.target), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_two_labels_make_it_binary_cross_entropy(case, smoothing):
    expected = BCELoss(case.task, label_smoothing=smoothing)(case.logits, case.target)
    ours = CrossEntropyLoss(case.task, label_smoothing=smoothing)(case.logits, case.target)
    torch.testing.assert_close(ours, expected)


def test_multilabel_weights_go_by_class(make_case):
    case = make_case("multilabel", ignored=False)
    per_class = F.binary_cross_entropy_with_logits(case.logits, case.target.float(), reduction="none").mean((0, 2, 3))
    ours = CrossEntropyLoss(case.task, class_weights=[1.0, 3.0])(case.logits, case.target)
    torch.testing.assert_close(ours, (per_class[0] + 3 * per_class[1]) / 4)


def test_a_subset_is_the_mean_over_the_pixels_of_these_classes(make_case):
    case = make_case("multiclass")
    among = (case.target == 0) | (case.target == 2)
    expected = F.cross_entropy(case.logits, case.target.where(among, 255), ignore_index=255)
    ours = CrossEntropyLoss(case.task, classes=["sky", "dog"])(case.logits, case.target)
    torch.testing.assert_close(ours, expected)


def test_module_and_function_agree(case):
    weights = [float(i + 1) for i, _ in enumerate(case.task.label_names)]
    module = CrossEntropyLoss(case.task, label_smoothing=0.2, class_weights=weights)(case.logits, case.target)
    assert module == cross_entropy_loss(
        case.logits, case.target, case.task, label_smoothing=0.2, class_weights=torch.tensor(weights)
    )


def test_weights_follow_the_module_and_stay_out_of_checkpoints():
    loss = CrossEntropyLoss(Binary(), class_weights=[1.0, 2.0])
    assert loss.to(torch.float64).class_weights.dtype == torch.float64
    assert loss.state_dict() == {}


def test_the_wrong_number_of_weights_is_answered_with_the_line_to_type():
    with pytest.raises(ConfigError) as error:
        CrossEntropyLoss(Binary(["cat"]), class_weights=[1.0, 2.0, 3.0])
    assert str(error.value) == (
        "loss.class_weights: 3 weights, expected 2, one each for background, cat; set 'loss.class_weights=[1.0,1.0]'"
    )


def test_full_smoothing_is_refused():
    with pytest.raises(
        ConfigError, match=r"loss\.label_smoothing: 1 is out of range, expected 0 <= label_smoothing < 1"
    ):
        CrossEntropyLoss(Binary(), label_smoothing=1.0)
