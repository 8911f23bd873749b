"""Numbers of other tools: SMP itself, and the formulas of mmsegmentation and torchvision in a few lines of NumPy."""

import math
import warnings

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain.metrics import confusion, conventions, count, scores
from segtrain.metrics.bootstrap import HEADLINES
from tests.metrics.cases import MODES, SEEDS, counts_of, random_maps

OF_SMP = ("iou_score", "f1_score", "precision", "recall", "accuracy")
REDUCTIONS = ("micro", "macro", "micro-imagewise", "macro-imagewise")


def few(test):
    return settings(max_examples=25)(given(seed=SEEDS)(test))


def values(numbers):
    return {number.name: number.value for number in numbers}


def sparse_maps(mode, seed):
    """A task with classes that some images, or all of them, do not hold, and ignored pixels."""
    task, prediction, target = random_maps(mode, seed, classes=6)
    rng = np.random.default_rng(seed)
    if mode == "multiclass":
        gone = int(rng.integers(1, 6))  # how many of the classes nobody holds
        prediction, target = (torch.where((maps >= 6 - gone) & (maps < 255), 0, maps) for maps in (prediction, target))
    silent, empty = (torch.from_numpy(rng.random(target.shape[:-2]) < 0.3)[..., None, None] for _ in range(2))
    return task, prediction.masked_fill(silent, 0), target.masked_fill(empty & (target != 255), 0)


def matrix_of(task, prediction, target):
    return confusion(prediction, target, task).sum((0, 1))


@pytest.mark.parametrize("mode", MODES)
@few
def test_every_number_of_smp_is_that_of_smp(mode, seed):
    task, prediction, target = sparse_maps(mode, seed)
    counts = count(prediction, target, task)
    theirs = {
        f"{name} {reduction}": getattr(smp.metrics, name)(
            *counts.tensors()[:4], reduction=reduction, zero_division=1.0
        ).item()
        for name in OF_SMP
        for reduction in REDUCTIONS
    }
    assert values(conventions.smp(counts)) == pytest.approx(theirs, rel=1e-5, nan_ok=True)


@few
def test_numbers_of_smp_are_those_of_its_own_counts(seed):
    task, prediction, target = sparse_maps("multiclass", seed)
    stats = smp.metrics.get_stats(prediction, target, mode="multiclass", num_classes=6, ignore_index=255)
    theirs = smp.metrics.iou_score(*stats, reduction="macro", zero_division=1.0).item()
    assert values(conventions.smp(count(prediction, target, task)))["iou_score macro"] == pytest.approx(theirs)


def test_smp_counts_an_absent_class_as_found():
    counts = counts_of([[4, 0]], [[4, 0]], [[0, 0]], [[0, 8]])
    assert values(conventions.smp(counts))["iou_score macro"] == 0.75


def test_the_micro_reduction_of_smp_stays_undefined_where_there_is_nothing():
    numbers = values(conventions.smp(counts_of([[0]], [[0]], [[0]], [[8]])))
    assert math.isnan(numbers["iou_score micro"])
    assert numbers["iou_score macro"] == numbers["iou_score micro-imagewise"] == 1


def as_mmseg(predictions, targets, labels):
    """IoUMetric of mmsegmentation 1.x: areas of all images in float32, nan-means, percent of two decimals."""
    right, predicted, true = (np.zeros(labels, np.float32) for _ in range(3))
    for prediction, target in zip(predictions, targets, strict=True):
        prediction, target = prediction[target != 255], target[target != 255]
        right += np.bincount(target[prediction == target], minlength=labels).astype(np.float32)
        predicted += np.bincount(prediction, minlength=labels).astype(np.float32)
        true += np.bincount(target, minlength=labels).astype(np.float32)
    precision, recall = right / predicted, right / true
    columns = {
        "IoU": right / (predicted + true - right),
        "Acc": recall,
        "Dice": 2 * right / (predicted + true),
        "Fscore": 2 * precision * recall / (precision + recall),
        "Precision": precision,
        "Recall": recall,
    }
    means = {f"m{name}": np.round(np.nanmean(column) * 100, 2) for name, column in columns.items()}
    return {"aAcc": np.round(right.sum() / true.sum() * 100, 2), **means}


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
@few
def test_numbers_of_mmsegmentation_follow_its_formulas(mode, seed):
    task, prediction, target = sparse_maps(mode, seed)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
        theirs = as_mmseg(prediction.numpy(), target.numpy(), len(task.label_names))
    ours = values(conventions.mmseg(matrix_of(task, prediction, target)))
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, abs=1e-5, nan_ok=True)  # theirs are float32


def test_mmsegmentation_leaves_a_class_that_is_always_mistaken_out_of_the_f_score_but_not_out_of_dice():
    matrix = torch.tensor([[2, 0, 0], [0, 0, 1], [0, 1, 0]])
    numbers = values(conventions.mmseg(matrix))
    assert (numbers["mFscore"], numbers["mDice"]) == (100, 33.33)


def as_torchvision(predictions, targets, labels):
    """ConfusionMatrix of torchvision's segmentation references."""
    matrix = np.zeros((labels, labels), np.float32)
    for prediction, target in zip(predictions, targets, strict=True):
        known = (target >= 0) & (target < labels)
        pairs = np.bincount(labels * target[known] + prediction[known], minlength=labels**2)
        matrix += pairs.reshape(labels, labels).astype(np.float32)
    right = np.diag(matrix)
    iou = right / (matrix.sum(1) + matrix.sum(0) - right)
    return [right.sum() / matrix.sum(), *(right / matrix.sum(1)), *iou, iou.mean()]


@settings(max_examples=25)
@given(seed=SEEDS, mode=st.sampled_from(["binary", "multiclass"]))
def test_numbers_of_torchvision_follow_its_formulas(seed, mode):
    task, prediction, target = sparse_maps(mode, seed)
    with np.errstate(invalid="ignore"):
        theirs = as_torchvision(prediction.numpy(), target.numpy(), len(task.label_names))
    ours = conventions.torchvision(matrix_of(task, prediction, target), task.label_names)
    assert [f"{number.value:.1f}" for number in ours] == [f"{value * 100:.1f}" for value in theirs]


def test_a_tie_is_rounded_as_torchvision_prints_it():
    """1999 of 2000 is 99.95 %, in float32 a little less."""
    numbers = conventions.torchvision(torch.tensor([[1999, 1], [0, 1999]]), ["background", "fg"])
    assert numbers[1].value == 99.9


def test_torchvision_counts_the_background_of_a_binary_task():
    task, prediction, target = random_maps("binary", 0)
    names = [number.name for number in conventions.torchvision(matrix_of(task, prediction, target), task.label_names)]
    assert names == [
        "global correct",
        "average row correct: background",
        "average row correct: fg",
        "IoU: background",
        "IoU: fg",
        "mean IoU",
    ]


def test_our_numbers_are_the_headlines_of_scores():
    task, prediction, target = sparse_maps("multiclass", 3)
    found = scores(count(prediction, target, task), task.class_names)
    assert values(conventions.segtrain(found)) == {name: found[name] for name in HEADLINES}


@pytest.mark.parametrize(("absent", "words"), [("exclude", "are left out"), ("one", "are 1"), ("zero", "are 0")])
def test_our_definitions_say_what_becomes_of_absent_classes(absent, words):
    task, prediction, target = random_maps("multiclass", 0)
    found = scores(count(prediction, target, task), task.class_names, absent=absent)
    definitions = {number.name: number.definition for number in conventions.segtrain(found)}
    assert definitions["iou"].endswith(f"absent classes {words}")


def test_a_score_of_nothing_is_not_a_number():
    task, _, target = random_maps("multiclass", 0)
    ignored = torch.full_like(target, 255)
    assert all(
        math.isnan(number.value)
        for number in conventions.segtrain(scores(count(ignored, ignored, task), task.class_names))
    )


def test_every_number_has_a_definition_of_one_line():
    task, prediction, target = random_maps("multiclass", 0)
    counts, matrix = count(prediction, target, task), matrix_of(task, prediction, target)
    contours = {name: {"mean": 0.5} for name in ("boundary_iou", "surface_hausdorff", "surface_average")}
    numbers = [
        *conventions.segtrain(scores(counts, task.class_names)),
        *conventions.contours(contours),
        *conventions.smp(counts),
        *conventions.mmseg(matrix),
        *conventions.torchvision(matrix, task.label_names),
    ]
    assert len(numbers) == 7 + 3 + 20 + 7 + 8
    assert all(0 < len(number.definition) < 160 and "{" not in number.definition for number in numbers)
