from typing import get_args

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.task import Binary, Mode, Multiclass, Multilabel, make_task

LOGITS = {
    "binary": torch.tensor([[[[-1.0, 2.0]]]]),
    "multiclass": torch.tensor([[[[3.0, 1.0]], [[0.0, 2.0]]]]),
    "multilabel": torch.tensor([[[[3.0, -1.0]], [[-2.0, 2.0]]]]),
}
NAMES = {"binary": ["cat"], "multiclass": ["sky", "cat"], "multilabel": ["cat", "dog"]}


@pytest.mark.parametrize("mode", get_args(Mode))
def test_make_task_builds_the_task_of_that_mode(mode):
    task = make_task(mode, NAMES[mode], ignore_index=7)
    assert task.mode == mode
    assert task.class_names == tuple(NAMES[mode])
    assert task.ignore_index == 7
    assert task.out_channels == LOGITS[mode].shape[1]


@pytest.mark.parametrize(
    ("mode", "expected"), [("binary", [[[0, 1]]]), ("multiclass", [[[0, 1]]]), ("multilabel", [[[[1, 0]], [[0, 1]]]])]
)
def test_predictions_are_laid_out_as_targets(mode, expected):
    prediction = make_task(mode, NAMES[mode]).predict(LOGITS[mode])
    assert prediction.dtype == torch.int64
    assert prediction.tolist() == expected


@pytest.mark.parametrize("mode", get_args(Mode))
def test_the_prediction_is_the_likeliest_label(mode):
    task = make_task(mode, NAMES[mode])
    right = task.one_hot(task.predict(LOGITS[mode]), LOGITS[mode])
    assert ((task.activation(LOGITS[mode]) > 0.5) == right.bool()).all()


@pytest.mark.parametrize("mode", get_args(Mode))
def test_the_likelihood_is_that_of_the_activation(mode):
    task = make_task(mode, NAMES[mode])
    target = task.predict(LOGITS[mode])
    probability = task.activation(LOGITS[mode])
    of_the_truth = probability.max(1).values if mode == "multiclass" else probability.maximum(1 - probability)
    nll = task.negative_log_likelihood(LOGITS[mode], target, task.is_known(target))
    assert nll.shape == target.shape
    torch.testing.assert_close((-nll).exp(), of_the_truth.view_as(target))
    torch.testing.assert_close(task.likelihood(LOGITS[mode], target), of_the_truth.view_as(target))


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_an_ignored_label_is_zero(mode, smoothing):
    task = make_task(mode, NAMES[mode])
    logits = LOGITS[mode].clone().requires_grad_()
    target = torch.full_like(task.predict(logits), task.ignore_index)
    nll = task.negative_log_likelihood(logits, target, task.is_known(target), label_smoothing=smoothing)
    nll.sum().backward()
    assert not nll.any()
    assert not logits.grad.any()


@pytest.mark.parametrize("classes", [3, 16])
def test_multiclass_gives_the_same_in_both_memory_formats(classes):
    task = Multiclass([str(i) for i in range(classes)])
    logits = torch.randn(2, classes, 4, 5, generator=torch.Generator().manual_seed(0))
    last = logits.contiguous(memory_format=torch.channels_last)
    target = task.predict(logits)
    assert torch.equal(task.predict(last), target)
    torch.testing.assert_close(task.activation(last), task.activation(logits))
    scores = (task.negative_log_likelihood(each, target, task.is_known(target)) for each in (last, logits))
    torch.testing.assert_close(*scores)
    assert task.one_hot(target, last).is_contiguous(memory_format=torch.channels_last)


def test_equal_logits_go_to_the_first_class():
    assert Multiclass(["a", "b", "c"]).predict(torch.zeros(1, 3, 2, 2)).tolist() == [[[0, 0], [0, 0]]]


def test_ignored_pixels_are_neither_valid_nor_of_a_class():
    target = torch.tensor([[[0, 1, 255]]])
    for task, channels in ((Binary(), 1), (Multiclass(["a", "b"]), 2)):
        assert task.valid(target).tolist() == [[[[True, True, False]]]]
        assert (task.one_hot(target, torch.zeros(1, channels, 1, 3))[..., 2] == 0).all()
    each_class = torch.tensor([[[[1, 255]], [[255, 1]]]])
    task = Multilabel(["a", "b"])
    assert task.valid(each_class).tolist() == [[[[True, False]], [[False, True]]]]
    assert task.one_hot(each_class, torch.zeros(1, 2, 1, 2)).tolist() == [[[[1, 0]], [[0, 1]]]]


@pytest.mark.parametrize(("dtype", "label", "ignored"), [(torch.uint8, 156, -100), (torch.int8, -1, 255)])
def test_an_index_beyond_small_integers_is_no_label_of_theirs(dtype, label, ignored):
    """Compared with 8 bits, -100 is 156."""
    task = Multiclass([str(number) for number in range(171)], ignore_index=ignored)
    assert task.valid(torch.tensor([[[label]]], dtype=dtype)).all()
    assert not task.valid(torch.tensor([[[ignored]]])).any()


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cuts_are_compared_in_full_precision(mode, dtype):
    task = make_task(mode, ["cat"], cuts=[0.9999])
    assert task.predict(torch.ones(1, 1, 1, 1, dtype=dtype)).all()


def test_label_weights_go_by_label_and_leave_out_what_is_ignored():
    target = torch.tensor([[[0, 1, 255]]])
    known = Binary().is_known(target)
    assert Binary().label_weights(target, known, torch.tensor([0.5, 2.0])).tolist() == [[[0.5, 2.0, 0.0]]]
    assert Binary().label_weights(target, known).tolist() == [[[True, True, False]]]


def test_label_weights_of_multilabel_go_by_class():
    target = torch.tensor([[[[0, 255]], [[1, 0]]]])
    task = Multilabel(["a", "b"])
    weights = task.label_weights(target, task.is_known(target), torch.tensor([0.5, 2.0]))
    assert weights.tolist() == [[[[0.5, 0.0]], [[2.0, 2.0]]]]


def test_a_binary_label_map_names_its_background_too():
    task = Binary(["cat"])
    assert task.label_names == ("background", "cat")
    assert task.class_names == ("cat",)


def test_a_binary_task_has_one_class():
    with pytest.raises(ValueError, match="one foreground class"):
        Binary(["cat", "dog"])


@pytest.mark.parametrize(("mode", "ignore_index"), [("binary", 0), ("multiclass", 1), ("multilabel", 1)])
def test_a_label_cannot_be_ignored_as_well(mode, ignore_index):
    with pytest.raises(ConfigError, match=rf"ignore_index {ignore_index} is one of the labels 0\.\.1"):
        make_task(mode, NAMES[mode], ignore_index=ignore_index)


def test_a_task_says_what_it_is():
    assert repr(Binary(["cat"])) == "Binary(['cat'], ignore_index=255)"
