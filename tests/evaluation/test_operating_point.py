"""Thresholds and temperature: what is stored as probabilities decides as it did when it was found."""

import pytest
import torch

from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.task import Binary, Multiclass, Multilabel


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("task", [Binary(), Multilabel(["a", "b"])])
def test_a_threshold_of_raw_probabilities_decides_the_same_whatever_the_temperature(task, temperature):
    logits = 3 * torch.randn(2, task.out_channels, 9, 9, generator=torch.Generator().manual_seed(0))
    raw = [0.3, 0.8][: task.out_channels]
    point = OperatingPoint().refined(temperature, raw)
    chosen = type(task)(task.class_names, cuts=point.cuts())
    expected = (logits.sigmoid() > torch.tensor(raw).view(-1, 1, 1)).long().view_as(task.predict(logits))
    assert torch.equal(chosen.predict(logits), expected)
    assert not torch.equal(chosen.predict(logits), task.predict(logits))
    calibrated = (logits / temperature).sigmoid() > torch.tensor(point.thresholds).view(-1, 1, 1)
    assert torch.equal(calibrated.long().view_as(expected), expected)


def test_a_checkpoint_without_one_decides_at_one_half():
    point = OperatingPoint.of({})
    assert (point.temperature, point.thresholds, point.cuts()) == (1.0, None, None)


def test_what_is_found_on_calibrated_probabilities_adds_to_what_was_there():
    point = OperatingPoint(2.0, (0.7,)).refined(1.5, [0.7])
    assert point.temperature == 3.0
    assert point.cuts() == pytest.approx(OperatingPoint(2.0, (0.7,)).cuts())


def test_the_most_probable_class_wins_whatever_is_stored():
    task = Multiclass(["a", "b"], cuts=OperatingPoint(2.0, (0.9, 0.9)).cuts())
    assert task.predict(torch.tensor([0.1, 0.2]).view(1, 2, 1, 1)).item() == 1


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends_stay_finite(threshold):
    cut = OperatingPoint().refined(1.0, [threshold]).cuts()[0]
    assert abs(cut) == pytest.approx(20.723, abs=1e-3)
