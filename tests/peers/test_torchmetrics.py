"""torchmetrics on pictures of our own: classification and segmentation metrics, and ours where they mean the same."""

import pytest
import torch
import torchmetrics.functional.classification as of_labels
import torchmetrics.functional.segmentation as of_maps

from segtrain import metrics
from tests.peers.pictures import CLASSES, RIGHT, binary, multiclass, unsure, unsure_of_classes

BINARY = {
    "accuracy": of_labels.binary_accuracy,
    "precision": of_labels.binary_precision,
    "recall": of_labels.binary_recall,
    "specificity": of_labels.binary_specificity,
    "npv": of_labels.binary_negative_predictive_value,
    "f1": of_labels.binary_f1_score,
    "f2": lambda *maps, **how: of_labels.binary_fbeta_score(*maps, beta=2.0, **how),
    "iou": of_labels.binary_jaccard_index,
    "mcc": of_labels.binary_matthews_corrcoef,
    "cohen_kappa": of_labels.binary_cohen_kappa,
}
AVERAGED = {
    "precision": of_labels.multiclass_precision,
    "recall": of_labels.multiclass_recall,
    "specificity": of_labels.multiclass_specificity,
    "f1": of_labels.multiclass_f1_score,
    "f2": lambda *maps, **how: of_labels.multiclass_fbeta_score(*maps, beta=2.0, **how),
    "iou": of_labels.multiclass_jaccard_index,
}


def ours(name, counts, reduction="macro"):
    return metrics.REDUCTIONS[reduction](counts, metrics.METRICS[name]).item()


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("picture", RIGHT)
@pytest.mark.parametrize("name", BINARY)
def test_scores_of_one_class_agree(name, picture, ignored):
    prediction, target = binary(picture)
    if ignored:
        target[0, 2, 2:] = 255
    found = ours(name, metrics.count(prediction, target, mode="binary"))
    if picture == "everywhere" and name == "mcc":  # 0/0, of which they take another limit (Chicco and Jurman 2020: 0)
        assert found == 0
        return
    expected = BINARY[name](prediction, target, ignore_index=255).item()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("picture", CLASSES)
@pytest.mark.parametrize("name", AVERAGED)
def test_means_over_classes_agree(name, picture, average):
    prediction, target = multiclass(picture)
    expected = AVERAGED[name](prediction, target, num_classes=3, average=average).item()
    counts = metrics.count(prediction, target, mode="multiclass", num_classes=3)
    assert ours(name, counts, average) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("picture", CLASSES)
def test_labels_together_agree(picture):
    prediction, target = multiclass(picture)
    matrix = metrics.confusion(prediction, target, mode="multiclass", num_classes=3).sum((0, 1))
    counts = metrics.count(prediction, target, mode="multiclass", num_classes=3)
    assert torch.equal(matrix, of_labels.multiclass_confusion_matrix(prediction, target, num_classes=3))
    for value, theirs in [
        (metrics.matrix_kappa(matrix), of_labels.multiclass_cohen_kappa),
        (metrics.matrix_mcc(matrix), of_labels.multiclass_matthews_corrcoef),
    ]:
        assert value.item() == pytest.approx(theirs(prediction, target, num_classes=3).item(), rel=1e-5)
    accuracy = of_labels.multiclass_accuracy(prediction, target, num_classes=3, average="micro")
    assert metrics.pixel_accuracy(counts.total()).item() == pytest.approx(accuracy.item())


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("name", ["iou", "f1", "precision", "recall"])
def test_overlapping_classes_agree(name, average):
    pairs = [binary(picture) for picture in ("half found", "one off", "too much")]
    prediction, target = (torch.stack([pair[side][0] for pair in pairs])[None] for side in (0, 1))
    theirs = {
        "iou": of_labels.multilabel_jaccard_index,
        "f1": of_labels.multilabel_f1_score,
        "precision": of_labels.multilabel_precision,
        "recall": of_labels.multilabel_recall,
    }[name]
    counts = metrics.count(prediction, target, mode="multilabel", num_classes=3)
    expected = theirs(prediction, target, num_labels=3, average=average).item()
    assert ours(name, counts, average) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("picture", CLASSES)
def test_dice_and_iou_of_images_are_those_of_their_segmentation(picture):
    prediction, target = multiclass(picture)
    counts = metrics.count(prediction, target, mode="multiclass", num_classes=3)
    how = {"num_classes": 3, "input_format": "index", "per_class": True}
    expected = of_maps.mean_iou(prediction, target, **how)[0]
    found = metrics.iou(counts)[0]
    there = ~metrics.is_absent(counts)[0]
    torch.testing.assert_close(found[there].float(), expected[there])
    dice = of_maps.dice_score(prediction, target, num_classes=3, input_format="index", average="none")[0]
    torch.testing.assert_close(metrics.f1(counts)[0][there].float(), dice[there])


@pytest.mark.parametrize("picture", ["half found", "too much", "one off", "beside it", "a single pixel"])
def test_hausdorff_distances_agree(picture):
    """On a square image without a spacing: on any other theirs are wrong, and with one the corners are the contour."""
    prediction, target = (torch.nn.functional.pad(side, (3, 2, 3, 3)) for side in binary(picture))  # 9x9
    expected = of_maps.hausdorff_distance(
        *(torch.stack([1 - each, each], 1) for each in (prediction, target)),
        num_classes=2,
        include_background=False,
        input_format="one-hot",
    )
    found = metrics.surface_distances(prediction, target, mode="binary", percentile=100).hausdorff
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("picture", RIGHT)
def test_the_calibration_error_agrees(picture):
    """Theirs of the label that is said, so as two classes: its binary one is of the foreground's probability."""
    prediction, target = binary(picture)
    logits = unsure(prediction)
    calibration = metrics.Calibration(mode="binary", bins=10)
    calibration.update(logits, target)
    two = torch.cat([torch.zeros_like(logits), logits], 1).softmax(1)
    expected = of_labels.multiclass_calibration_error(two, target, num_classes=2, n_bins=10)
    assert calibration.result().ece == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("picture", CLASSES)
def test_the_calibration_error_of_classes_agrees(picture):
    prediction, target = multiclass(picture)
    logits = unsure_of_classes(prediction)
    calibration = metrics.Calibration(mode="multiclass", num_classes=3, bins=10)
    calibration.update(logits, target)
    expected = of_labels.multiclass_calibration_error(logits.softmax(1), target, num_classes=3, n_bins=10)
    assert calibration.result().ece == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("picture", [name for name in RIGHT if name != "a single pixel"])
def test_the_average_precision_agrees_up_to_how_it_goes_from_one_threshold_to_the_next(picture):
    """Theirs takes steps, ours what true and false pixels evenly mixed would give; with many pixels both are close."""
    prediction, target = binary(picture)
    prediction, target = (each.repeat(1, 60, 60) for each in (prediction, target))
    logits = unsure(prediction)
    curves = metrics.Curves(mode="binary")
    curves.update(logits, target)
    expected = of_labels.binary_average_precision(logits.sigmoid().squeeze(1), target)
    assert curves.result().average_precision.item() == pytest.approx(expected.item(), abs=2e-3)
