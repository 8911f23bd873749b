"""Differences between a file and its checkpoint: every kind that matters is found, and said."""

import pytest
import torch

from segtrain.evaluation.fidelity import Shown, compare
from segtrain.models import Outputs
from segtrain.task import Binary, Multiclass

TASK = Multiclass(["a", "b"])
LOGITS = torch.tensor([[[[2.0, -1.0]], [[0.0, 3.0]]]])  # (1, 2, 1, 2): labels 0 and 1
TARGET = torch.tensor([[[0, 1]]])
ALLOWED = {"tolerance": 1e-3, "iou_tolerance": 1e-3}


def found(answer, *, logits=LOGITS, target=TARGET, task=TASK, exactly=True, labels=None, own=None, **options):
    shown = [Shown(torch.zeros(1), Outputs(logits, own), target, ["one"], exactly)]
    return compare(lambda _: Outputs(answer, labels), shown, task, **options)


def test_equal_answers_have_no_problem():
    equal = found(LOGITS.clone())
    assert (equal.difference, equal.exact.share, equal.ious()) == (0, 1, (1, 1))
    assert equal.problem(**ALLOWED) is None


def test_logits_may_differ_by_a_share_of_the_largest():
    assert found(LOGITS + 0.0029).problem(**ALLOWED) is None  # the largest is 3
    assert "logits differ by up to 0.0031" in found(LOGITS + 0.0031).problem(**ALLOWED)


def test_what_is_no_number_is_refused():
    answer = LOGITS.clone()
    answer[0, 0, 0, 0] = torch.nan
    assert "differ by up to nan" in found(answer).problem(**ALLOWED)


def test_other_labels_are_refused_where_pixels_were_resized_otherwise():
    swapped = found(LOGITS.flip(1), exactly=False)
    assert (swapped.difference, swapped.resized.share) == (0, 0)
    assert "100.00% of the resized pixels have another label" in swapped.problem(**ALLOWED)
    assert swapped.ious() == (1, 0)


def test_labels_of_whole_images_are_compared_too():
    own = torch.tensor([[1.0, 2.0]])
    assert found(LOGITS, own=own, labels=own + 0.5).difference == 0.5


@pytest.mark.parametrize("gives", ["probabilities", "labels"])
def test_probabilities_and_labels_are_compared_as_they_are_used(gives):
    task = Binary(cuts=[1.0])
    logits = torch.tensor([[[[0.9, 1.1, -3.0]]]])
    answer = (logits / 2).sigmoid() if gives == "probabilities" else torch.tensor([[[0, 1, 0]]], dtype=torch.uint8)
    options = {"logits": logits, "target": None, "task": task, "gives": gives, "temperature": 2.0}
    assert found(answer, **options).problem(**ALLOWED) is None
    wrong = 1 - answer
    assert found(wrong, **options).problem(**ALLOWED) is not None
    assert found(answer, **options).ious() is None
