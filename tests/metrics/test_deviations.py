"""Where we differ from other libraries on purpose: each test states both values, and why."""

import math

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain import metrics
from segtrain.errors import DataError
from segtrain.metrics import count, iou, macro, precision, recall, specificity
from segtrain.task import Binary, Multiclass, Multilabel
from tests.metrics.cases import counts_of

TEN = Multiclass([f"c{i}" for i in range(10)])


def stats(counts):
    return counts.tensors()[:4]


def test_absent_classes_do_not_lift_the_mean():
    """SMP counts the eight classes that nobody saw as 1: a coin's prediction of two classes scores 0.87."""
    target = torch.tensor([[[0, 0, 1, 1]]])
    counts = count(torch.tensor([[[0, 1, 0, 1]]]), target, TEN)
    assert smp.metrics.iou_score(*stats(counts), reduction="macro").item() == pytest.approx((8 + 2 / 3) / 10)
    assert macro(counts, iou).item() == pytest.approx(1 / 3)
    assert macro(counts, iou, absent="one").item() == pytest.approx((8 + 2 / 3) / 10)


@pytest.mark.parametrize("reduction", ["macro", "weighted-imagewise"])
def test_a_perfect_prediction_is_not_divided_by_the_number_of_classes(reduction):
    """SMP normalises the weights to 1, and then takes the mean of the weighted scores: 1 / C."""
    target = torch.arange(10).view(1, 2, 5)
    counts, weights = count(target, target, TEN), [1.0] * 10
    assert smp.metrics.iou_score(*stats(counts), reduction=reduction, class_weights=weights).item() == pytest.approx(
        0.1
    )
    assert metrics.weighted(counts, iou, weights=weights) == 1
    assert metrics.weighted_imagewise(counts, iou, weights=weights) == 1


def test_the_policy_holds_for_an_empty_data_set_in_micro_too():
    """SMP settles 0/0 in every reduction but micro, where it is NaN."""
    empty = counts_of([[0]], [[0]], [[0]], [[9]])
    assert math.isnan(smp.metrics.iou_score(*stats(empty), reduction="micro", zero_division=1.0).item())
    assert metrics.micro(empty, iou, absent="one") == 1
    assert metrics.micro(empty, iou, absent="zero") == 0


def test_an_empty_image_is_no_success():
    """SMP gives an image without truth and prediction an IoU of 1; we leave it out unless told otherwise."""
    counts = counts_of([[0], [1]], [[0], [1]], [[0], [0]], [[8], [6]])
    assert smp.metrics.iou_score(*stats(counts), reduction="macro-imagewise").item() == 0.75
    assert metrics.macro_imagewise(counts, iou).item() == 0.5


def test_an_invented_class_has_no_recall():
    """SMP gives 0/0 a 1 even where the class was predicted and is not there."""
    counts = counts_of([[0]], [[3]], [[0]], [[5]])
    assert smp.metrics.recall(*stats(counts), reduction="macro").item() == 1
    assert macro(counts, recall) == 0


def test_a_missed_class_has_no_precision():
    """SMP gives 0/0 a 1 even where the class is there and was not predicted."""
    counts = counts_of([[0]], [[0]], [[3]], [[5]])
    assert smp.metrics.precision(*stats(counts), reduction="macro").item() == 1
    assert macro(counts, precision) == 0


def test_an_invented_rest_has_no_specificity():
    """The same for the negatives: the class fills the truth, and the prediction leaves a hole."""
    counts = counts_of([[5]], [[0]], [[3]], [[0]])
    assert smp.metrics.specificity(*stats(counts), reduction="macro").item() == 1
    assert macro(counts, specificity) == 0


def test_scores_keep_the_last_pixel_of_many():
    """SMP divides in float32, which has no number between 1 and 1 - 2^-24."""
    counts = counts_of([[2**26]], [[1]], [[0]], [[0]])
    assert smp.metrics.iou_score(*stats(counts), reduction="micro").item() == 1
    assert metrics.micro(counts, iou).item() == 2**26 / (2**26 + 1) < 1


def test_a_label_out_of_range_is_an_error():
    """SMP drops it from the truth and calls its pixel a false positive."""
    target, prediction = torch.tensor([[[0, 200]]]), torch.tensor([[[0, 1]]])
    tp, fp, fn, tn = smp.metrics.get_stats(prediction, target, mode="multiclass", num_classes=3)
    assert (tp.sum(), fp.sum(), fn.sum(), tn.sum()) == (1, 1, 0, 4)
    with pytest.raises(DataError, match="image 0: target holds 200 at row 0, column 1"):
        count(prediction, target, Multiclass(["a", "b", "c"]))


@pytest.mark.parametrize(("task", "shape"), [(Binary(), (1, 1, 4)), (Multilabel(["a"]), (1, 1, 1, 4))])
def test_ignored_pixels_work_in_every_mode(task, shape):
    """SMP refuses an ignore index unless the task is multiclass."""
    prediction, target = torch.tensor([1, 1, 0, 0]).view(shape), torch.tensor([1, 255, 255, 0]).view(shape)
    with pytest.raises(ValueError, match="not supported"):
        smp.metrics.get_stats(prediction, target, mode=task.mode, ignore_index=255)
    assert metrics.micro(count(prediction, target, task), iou) == 1


def test_an_invented_class_lowers_the_mean_recall():
    """Mmsegmentation's mean accuracy, the nan-mean of recall, leaves out a class that is predicted and nowhere true."""
    target = torch.tensor([[[0, 0, 1, 1]]])
    counts = count(torch.tensor([[[0, 2, 1, 1]]]), target, Multiclass(["a", "b", "c"]))
    total = counts.total()
    assert (total.tp / total.support()).nanmean().item() == 0.75
    assert macro(counts, recall).item() == 0.5
