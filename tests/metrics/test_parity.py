"""Where other libraries are right, our numbers are theirs; test_deviations.py holds where they are not."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain import metrics
from segtrain.metrics import METRICS, REDUCTIONS, confusion, count
from tests.metrics.cases import FIELDS, SEEDS, random_counts, random_maps

OF_SMP = {
    "iou": smp.metrics.iou_score,
    "f1": smp.metrics.f1_score,
    "accuracy": smp.metrics.accuracy,
    "balanced_accuracy": smp.metrics.balanced_accuracy,
    "precision": smp.metrics.precision,
    "recall": smp.metrics.recall,
    "specificity": smp.metrics.specificity,
    "npv": smp.metrics.negative_predictive_value,
    "fnr": smp.metrics.false_negative_rate,
    "fpr": smp.metrics.false_positive_rate,
    "fdr": smp.metrics.false_discovery_rate,
    "for": smp.metrics.false_omission_rate,
    "lr+": smp.metrics.positive_likelihood_ratio,
    "lr-": smp.metrics.negative_likelihood_ratio,
}


def few(test):
    return settings(max_examples=15)(given(seed=SEEDS)(test))


@pytest.mark.parametrize("name", OF_SMP)
@few
def test_scores_are_those_of_smp_where_every_class_is_there(name, seed):
    counts = random_counts(seed)
    stats = counts.tensors()[:4]
    for reduction in ("micro", "macro", "micro_imagewise", "macro_imagewise"):
        ours = REDUCTIONS[reduction](counts, METRICS[name]).item()
        theirs = OF_SMP[name](*stats, reduction=reduction.replace("_", "-")).item()
        assert ours == pytest.approx(theirs, rel=1e-4)  # theirs is float32


@few
def test_f_beta_is_that_of_smp(seed):
    counts = random_counts(seed)
    theirs = smp.metrics.fbeta_score(*counts.tensors()[:4], beta=0.5, reduction="macro").item()
    assert metrics.macro(counts, lambda counts: metrics.fbeta(counts, beta=0.5)).item() == pytest.approx(theirs)


@few
def test_given_weights_are_those_of_smp(seed):
    counts, weights = random_counts(seed), [0.2, 0.3, 0.5]
    theirs = smp.metrics.iou_score(*counts.tensors()[:4], reduction="weighted", class_weights=weights).item()
    assert metrics.weighted(counts, metrics.iou, weights=weights).item() == pytest.approx(theirs)


@few
def test_multiclass_counts_are_those_of_smp(seed):
    task, prediction, target = random_maps("multiclass", seed)
    theirs = smp.metrics.get_stats(prediction, target, mode="multiclass", num_classes=3, ignore_index=255)
    ours = count(prediction, target, task)
    for field, expected in zip(FIELDS, theirs, strict=True):
        assert torch.equal(getattr(ours, field), expected)


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
@few
def test_two_label_counts_are_those_of_smp(mode, seed):
    task, prediction, target = random_maps(mode, seed)
    target[target == 255] = 0
    theirs = smp.metrics.get_stats(prediction, target, mode="multilabel" if mode == "multilabel" else "binary")
    theirs = (
        theirs if mode == "multilabel" else [value.sum(1, keepdim=True) for value in theirs]
    )  # rows taken as classes
    ours = count(prediction, target, task)
    for field, expected in zip(FIELDS, theirs, strict=True):
        assert torch.equal(getattr(ours, field), expected)


def mean_iou_by_histograms(prediction, target, labels, ignore_index):
    """Mean IoU as mmsegmentation defines it: histograms over all images, and the mean over what is not 0/0."""
    kept = target != ignore_index
    prediction, target = prediction[kept], target[kept]
    edges = np.arange(labels + 1)
    shared = np.histogram(prediction[prediction == target], edges)[0]
    union = np.histogram(prediction, edges)[0] + np.histogram(target, edges)[0] - shared
    with np.errstate(invalid="ignore"):
        return np.nanmean(shared / union)


@settings(max_examples=30)
@given(seed=SEEDS, classes=st.integers(2, 30))
def test_macro_iou_is_the_nan_mean_of_mmsegmentation(seed, classes):
    task, prediction, target = random_maps("multiclass", seed, images=1, classes=classes)
    theirs = mean_iou_by_histograms(prediction.numpy(), target.numpy(), classes, 255)
    assert metrics.macro(count(prediction, target, task), metrics.iou).item() == pytest.approx(theirs, rel=1e-12)


@settings(max_examples=15)
@given(seed=SEEDS, classes=st.integers(2, 6))
def test_the_confusion_matrix_is_that_of_scikit_learn(seed, classes):
    learn = pytest.importorskip("sklearn.metrics")
    task, prediction, target = random_maps("multiclass", seed, classes=classes)
    kept = target != 255
    theirs = learn.confusion_matrix(target[kept], prediction[kept], labels=range(classes))
    np.testing.assert_array_equal(confusion(prediction, target, task).sum((0, 1)).numpy(), theirs)


@few
def test_agreement_over_labels_is_that_of_scikit_learn(seed):
    learn = pytest.importorskip("sklearn.metrics")
    task, prediction, target = random_maps("multiclass", seed)
    kept = target != 255
    true, said = target[kept].numpy(), prediction[kept].numpy()
    matrix = confusion(prediction, target, task).sum((0, 1))
    assert metrics.matrix_kappa(matrix).item() == pytest.approx(learn.cohen_kappa_score(true, said))
    assert metrics.matrix_mcc(matrix).item() == pytest.approx(learn.matthews_corrcoef(true, said))


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@few
def test_means_over_classes_are_those_of_scikit_learn(average, seed):
    learn = pytest.importorskip("sklearn.metrics")
    task, prediction, target = random_maps("multiclass", seed, images=1, classes=12)
    kept = target != 255
    true, said, counts = target[kept].numpy(), prediction[kept].numpy(), count(prediction, target, task)
    options = {"average": average, "zero_division": 0, "labels": np.union1d(true, said)}
    expected = {
        "iou": learn.jaccard_score(true, said, **options),
        "f1": learn.f1_score(true, said, **options),
        "f2": learn.fbeta_score(true, said, beta=2, **options),
        "precision": learn.precision_score(true, said, **options),
        "recall": learn.recall_score(true, said, **options),
    }
    ours = {name: REDUCTIONS[average](counts, METRICS[name]).item() for name in expected}
    assert ours == pytest.approx(expected)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@few
def test_means_over_classes_are_those_of_torchmetrics(average, seed):
    theirs = pytest.importorskip("torchmetrics.functional.classification")
    task, prediction, target = random_maps("multiclass", seed, images=1, classes=12)
    counts, options = count(prediction, target, task), {"num_classes": 12, "average": average, "ignore_index": 255}
    expected = {
        "iou": theirs.multiclass_jaccard_index(prediction, target, **options),
        "f1": theirs.multiclass_f1_score(prediction, target, **options),
        "precision": theirs.multiclass_precision(prediction, target, **options),
        "recall": theirs.multiclass_recall(prediction, target, **options),
        "specificity": theirs.multiclass_specificity(prediction, target, **options),
    }
    ours = {name: REDUCTIONS[average](counts, METRICS[name]).item() for name in expected}
    assert ours == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-5)


@few
def test_each_class_of_a_multilabel_task_scores_as_in_torchmetrics(seed):
    theirs = pytest.importorskip("torchmetrics.functional.classification")
    task, prediction, target = random_maps("multilabel", seed)
    total = count(prediction, target, task).total()
    for channel in range(3):
        maps = prediction[:, channel], target[:, channel]
        for name, function in (
            ("iou", theirs.binary_jaccard_index),
            ("mcc", theirs.binary_matthews_corrcoef),
            ("cohen_kappa", theirs.binary_cohen_kappa),
            ("npv", theirs.binary_negative_predictive_value),
        ):
            expected = function(*maps, ignore_index=255).item()
            assert METRICS[name](total)[channel].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
