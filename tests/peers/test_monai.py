"""MONAI on pictures of our own: its losses, its counts and its distances, and ours where they mean the same."""

import numpy as np
import pytest
import torch

from segtrain import losses, metrics
from tests.peers.pictures import CELLS, CLASSES, RIGHT, binary, multiclass, unsure, unsure_of_classes

monai = pytest.importorskip("monai", minversion="1.6", reason="MONAI 1.6 is for Python 3.11 or newer")
EXACT = {"smooth_nr": 0.0, "smooth_dr": 1e-9}
LOSSES = {
    "dice": (losses.dice_loss, {}, lambda **how: monai.losses.DiceLoss(**EXACT, **how)),
    "jaccard": (losses.jaccard_loss, {}, lambda **how: monai.losses.DiceLoss(jaccard=True, **EXACT, **how)),
    "tversky": (
        losses.tversky_loss,
        {"alpha": 0.4, "beta": 0.6},
        lambda **how: monai.losses.TverskyLoss(alpha=0.4, beta=0.6, **EXACT, **how),
    ),
}
RATES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "npv": "negative predictive value",
    "fnr": "miss rate",
    "fpr": "fall out",
    "fdr": "false discovery rate",
    "for": "false omission rate",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "f1 score",
    "mcc": "matthews correlation coefficient",
    "iou": "threat score",
}
TWO_SIDED = ["half found", "too much", "one off", "beside it", "a single pixel"]


def one_hot(maps, classes=2):
    return torch.nn.functional.one_hot(maps, classes).movedim(-1, 1).double()


def close(ours, theirs):
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_areas_agree_on_one_class(loss, per_image):
    maps = [binary(picture) for picture in RIGHT]
    prediction, target = (torch.cat([pair[side] for pair in maps]) for side in (0, 1))
    logits, (ours, options, theirs) = unsure(prediction), LOSSES[loss]
    expected = theirs(sigmoid=True, batch=not per_image)(logits, target.unsqueeze(1).double())
    close(ours(logits, target.unsqueeze(1), "binary", per_image=per_image, **options), expected)


@pytest.mark.parametrize("picture", ["three classes", "one never predicted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_areas_agree_on_several_classes(loss, picture):
    prediction, target = multiclass(picture)
    logits, (ours, options, theirs) = unsure_of_classes(prediction), LOSSES[loss]
    expected = theirs(softmax=True, batch=True)(logits, one_hot(target, 3))
    close(ours(logits, target, "multiclass", **options), expected)


@pytest.mark.parametrize("picture", RIGHT)
@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, None), (2.0, None), (2.0, 0.25), (3.0, 0.8)])
def test_the_focal_loss_agrees(picture, gamma, alpha):
    prediction, target = binary(picture)
    theirs = monai.losses.FocalLoss(gamma=gamma, alpha=alpha)
    logits = unsure(prediction)
    ours = losses.focal_loss(logits, target, "binary", gamma=gamma, alpha=alpha)
    close(ours, theirs(logits, target.unsqueeze(1).double()))


@pytest.mark.parametrize("picture", RIGHT)
def test_cells_and_rates_agree(picture):
    prediction, target = (each.unsqueeze(1).double() for each in binary(picture))
    matrix = monai.metrics.get_confusion_matrix(prediction, target)
    counts = metrics.count(*binary(picture), mode="binary")
    tp, fp, tn, fn = (int(value) for value in matrix.flatten())
    assert (tp, fp, fn, tn) == CELLS[picture] == tuple(int(each) for each in counts.tensors()[:4])
    for name, called in RATES.items():
        expected = monai.metrics.compute_confusion_matrix_metric(called, matrix).item()
        if not np.isnan(expected):  # of 0/0, which ours settles
            assert metrics.METRICS[name](counts).item() == pytest.approx(expected), name


@pytest.mark.parametrize("picture", CLASSES)
def test_dice_and_iou_of_classes_agree(picture):
    prediction, target = multiclass(picture)
    counts = metrics.count(prediction, target, mode="multiclass", num_classes=3)
    maps = one_hot(prediction, 3), one_hot(target, 3)
    for ours, theirs in ((metrics.f1, monai.metrics.compute_dice), (metrics.iou, monai.metrics.compute_iou)):
        expected = theirs(*maps, ignore_empty=True)  # NaN for a class that is never true, where ours is 0
        true = ~expected.isnan()
        assert true.sum() >= 2
        torch.testing.assert_close(ours(counts)[true].float(), expected[true].float())
        assert (ours(counts)[~true] == 0).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5)])
@pytest.mark.parametrize("picture", TWO_SIDED)
def test_distances_of_contours_agree(picture, spacing):
    prediction, target = binary(picture)
    maps = [each.unsqueeze(1).double() for each in (prediction, target)]
    for percentile in (100.0, 95.0):
        found = metrics.surface_distances(prediction, target, mode="binary", spacing=spacing, percentile=percentile)
        expected = monai.metrics.compute_hausdorff_distance(
            *maps, include_background=True, percentile=percentile, spacing=spacing
        )
        assert found.hausdorff.item() == pytest.approx(expected.item(), rel=1e-6)
    average = monai.metrics.compute_average_surface_distance(
        *maps, include_background=True, symmetric=True, spacing=spacing
    )
    assert found.average.item() == pytest.approx(average.item(), rel=1e-6)


def test_distances_worked_out_by_hand():
    """Squares of 2x2 pixels, one beside the other: the contours are 1 and 2 pixels apart."""
    prediction, target = binary("beside it")
    found = metrics.surface_distances(prediction, target, mode="binary", percentile=100)
    assert found.hausdorff.item() == 2
    assert found.average.item() == 1.5
