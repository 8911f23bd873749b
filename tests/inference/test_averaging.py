"""Means of probabilities, given back as logits, in each mode; and several networks in the place of one."""

import pytest
import torch
from torch import nn

from segtrain.inference.averaging import Ensemble, mean_of_outputs, mean_of_probabilities
from segtrain.inference.network import Network
from segtrain.models import Normalize, Outputs
from segtrain.runtime.device import Runtime
from segtrain.task import make_task

TASKS = [make_task("binary", ["a"]), make_task("multiclass", ["a", "b", "c"]), make_task("multilabel", ["a", "b"])]


def answers(task, scale=3.0, count=3):
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(2, task.out_channels, 4, 5, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.mode)
def test_the_logits_stand_for_the_mean_of_the_probabilities(task):
    given = answers(task)
    expected = torch.stack([task.activation(each.double()) for each in given]).mean(0)
    mean = mean_of_probabilities(given, task)
    assert mean.dtype == torch.float32
    torch.testing.assert_close(task.activation(mean.double()), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.mode)
def test_a_single_answer_stays_to_the_last_bit_and_equal_ones_as_they_are(task):
    (given,) = answers(task, count=1)
    assert torch.equal(mean_of_probabilities([given], task), given)
    same = mean_of_probabilities([given] * 4, task)
    assert torch.equal(task.predict(same), task.predict(given))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.mode)
def test_probabilities_far_beyond_float32_stay_apart(task):
    given = answers(task, scale=200.0)
    assert mean_of_probabilities(given, task).isfinite().all()
    surest = mean_of_probabilities([torch.full((1, task.out_channels, 1, 1), 60.0)] * 2, task)
    if task.mode != "multiclass":  # sigmoid(60) is 1 in float32
        torch.testing.assert_close(surest, torch.full_like(surest, 60.0))


def test_the_mean_is_one_of_probabilities_and_not_of_logits():
    sure, unsure = torch.tensor([[[[-9.0]]]]), torch.tensor([[[[1.0]]]])
    assert mean_of_probabilities([sure, unsure, unsure], TASKS[0]) < 0  # 0.487: logits would give -2.3
    assert torch.sigmoid(mean_of_probabilities([sure, unsure, unsure], TASKS[0])).item() == pytest.approx(
        0.4874, abs=1e-3
    )


def test_labels_of_whole_images_are_averaged_too():
    labels = [torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 0.0]])]
    logits = answers(TASKS[1], count=2)
    found = mean_of_outputs(iter([Outputs(*pair) for pair in zip(logits, labels, strict=True)]), TASKS[1])
    expected = torch.stack([each.softmax(1) for each in labels]).mean(0)
    torch.testing.assert_close(found.labels.softmax(1), expected)


class Constant(nn.Module):
    def __init__(self, value, mean):
        super().__init__()
        self.normalize = Normalize([mean], [1.0])
        self.value = value

    def forward(self, images):
        return images * 0 + self.value + images.mean()


def test_an_ensemble_answers_the_mean_and_switches_all_of_its_members():
    runtime = Runtime(torch.device("cpu"), "fp32")
    members = [Network(Constant(value, mean).train(), runtime) for value, mean in ((1.0, 0.0), (-2.0, 0.5))]
    ensemble = Ensemble(members, TASKS[0])
    pixels = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    with ensemble.evaluating():
        assert not any(member.model.training for member in members)
        found = ensemble(pixels).logits
    assert all(member.model.training for member in members)
    # each normalises as it was trained: 1 + 1 and -2 + 0.5
    expected = torch.stack([torch.tensor(2.0).sigmoid(), torch.tensor(-1.5).sigmoid()]).mean()
    torch.testing.assert_close(found.sigmoid(), expected.expand(1, 1, 2, 2))
