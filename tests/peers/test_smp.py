"""segmentation_models_pytorch on pictures of our own: its losses and metrics, and ours where they mean the same."""

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain import losses, metrics
from segtrain.task import Binary
from tests.metrics.test_parity import OF_SMP
from tests.peers.pictures import CELLS, CLASSES, RIGHT, binary, multiclass, unsure, unsure_of_classes

THEIRS = {
    "dice": (losses.dice_loss, {}, lambda mode: smp.losses.DiceLoss(mode)),
    "log dice": (losses.dice_loss, {"log": True}, lambda mode: smp.losses.DiceLoss(mode, log_loss=True)),
    "smooth dice": (losses.dice_loss, {"smooth": 1.0}, lambda mode: smp.losses.DiceLoss(mode, smooth=1.0)),
    "jaccard": (losses.jaccard_loss, {}, lambda mode: smp.losses.JaccardLoss(mode)),
    "log jaccard": (losses.jaccard_loss, {"log": True}, lambda mode: smp.losses.JaccardLoss(mode, log_loss=True)),
    "tversky": (
        losses.tversky_loss,
        {"alpha": 0.2, "beta": 0.8},
        lambda mode: smp.losses.TverskyLoss(mode, alpha=0.2, beta=0.8),
    ),
}
ONE_CLASS = {
    "focal": (losses.focal_loss, {}, smp.losses.FocalLoss("binary")),
    "focal with alpha": (losses.focal_loss, {"alpha": 0.25}, smp.losses.FocalLoss("binary", alpha=0.25)),
    "lovasz": (losses.lovasz_loss, {}, smp.losses.LovaszLoss("binary", per_image=False)),
    "bce": (losses.bce_loss, {}, smp.losses.SoftBCEWithLogitsLoss()),
    "smoothed bce": (losses.bce_loss, {"label_smoothing": 0.2}, smp.losses.SoftBCEWithLogitsLoss(smooth_factor=0.1)),
    "weighted bce": (
        losses.bce_loss,
        {"pos_weight": torch.tensor([3.0])},
        smp.losses.SoftBCEWithLogitsLoss(pos_weight=torch.tensor([3.0])),
    ),
    "mcc": (losses.mcc_loss, {}, lambda logits, target: smp.losses.MCCLoss()(logits.sigmoid(), target.float())),
}
SCORES = {
    **OF_SMP,
    "f2": lambda *cells, **how: smp.metrics.fbeta_score(*cells, beta=2.0, **how),
    "sensitivity": smp.metrics.sensitivity,
    "ppv": smp.metrics.positive_predictive_value,
}


def close(ours, theirs):
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("picture", RIGHT)
@pytest.mark.parametrize("loss", THEIRS)
def test_losses_of_areas_agree_on_one_class(loss, picture):
    prediction, target = binary(picture)
    logits, (ours, options, theirs) = unsure(prediction), THEIRS[loss]
    close(ours(logits, target, "binary", **options), theirs("binary")(logits, target.unsqueeze(1)))


@pytest.mark.parametrize("picture", [name for name in CLASSES if name != "one is never true"])
@pytest.mark.parametrize("loss", THEIRS)
def test_losses_of_areas_agree_on_several_classes(loss, picture):
    prediction, target = multiclass(picture)
    logits, (ours, options, theirs) = unsure_of_classes(prediction), THEIRS[loss]
    close(ours(logits, target, "multiclass", **options), theirs("multiclass")(logits, target))


@pytest.mark.parametrize("picture", RIGHT)
@pytest.mark.parametrize("loss", ONE_CLASS)
def test_losses_of_pixels_agree_with_the_target_in_their_layout(loss, picture):
    prediction, target = binary(picture)
    logits, target, (ours, options, theirs) = unsure(prediction).float(), target.unsqueeze(1).float(), ONE_CLASS[loss]
    found, expected = ours(logits, target, "binary", **options), theirs(logits, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)  # of MCC their epsilon is 1e-5


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("picture", CLASSES)
def test_cross_entropy_agrees(picture, smoothing):
    prediction, target = multiclass(picture)
    logits, theirs = unsure_of_classes(prediction), smp.losses.SoftCrossEntropyLoss(smooth_factor=smoothing)
    close(losses.cross_entropy_loss(logits, target, "multiclass", label_smoothing=smoothing), theirs(logits, target))


def test_areas_by_hand_are_those_of_both():
    """Logits of +-ln 3 are probabilities of 3/4 and 1/4: overlap 4 * 3/4, predicted 4 * 3/4 + 8 * 1/4, true 4."""
    prediction, target = binary("all right")
    logits = torch.where(prediction == 1, 1.0, -1.0).double().unsqueeze(1) * torch.tensor(3.0).double().log()
    for ours, theirs, value in [
        (losses.dice_loss, smp.losses.DiceLoss, 1 - 2 * 3 / (5 + 4)),
        (losses.jaccard_loss, smp.losses.JaccardLoss, 1 - 3 / (5 + 4 - 3)),
    ]:
        assert ours(logits, target, "binary").item() == pytest.approx(value)
        assert theirs("binary")(logits, target.unsqueeze(1)).item() == pytest.approx(value)


def test_every_cell_counted_by_hand_is_counted_by_both():
    assert CELLS.keys() == RIGHT.keys()
    for picture, cells in CELLS.items():
        prediction, target = binary(picture)
        counts = metrics.count(prediction, target, mode="binary")
        stats = smp.metrics.get_stats(prediction.unsqueeze(1), target.unsqueeze(1), mode="binary")
        assert tuple(int(each) for each in counts.tensors()[:4]) == tuple(int(each) for each in stats) == cells


@pytest.mark.parametrize("reduction", ["micro", "macro", "micro_imagewise", "macro_imagewise"])
@pytest.mark.parametrize("name", SCORES)
def test_scores_over_pictures_agree(name, reduction):
    """Over images with truth and prediction in each, where nothing is undefined."""
    pictures = ["half found", "too much", "one off", "a single pixel"]
    maps = [torch.cat(side) for side in zip(*(binary(picture) for picture in pictures), strict=True)]
    counts = metrics.count(*maps, mode="binary")
    stats = smp.metrics.get_stats(*(each.unsqueeze(1) for each in maps), mode="binary")
    if not all(torch.isfinite(metrics.METRICS[name](part)).all() for part in (counts, counts.total())):
        pytest.skip("infinite for an image without false alarms")
    ours = metrics.REDUCTIONS[reduction](counts, metrics.METRICS[name])
    theirs = SCORES[name](*stats, reduction=reduction.replace("_", "-"))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_probabilities_above_a_threshold_are_cuts_of_logits(threshold):
    prediction, target = binary("one off")
    logits = unsure(prediction)
    cut = torch.tensor(threshold / (1 - threshold)).log().item()
    task = Binary(cuts=[cut])
    ours = metrics.count(task.predict(logits), target, task)
    theirs = smp.metrics.get_stats(logits.sigmoid(), target.unsqueeze(1), mode="binary", threshold=threshold)
    assert [int(each) for each in ours.tensors()[:4]] == [int(each) for each in theirs]


@pytest.mark.parametrize("picture", CLASSES)
def test_counts_of_classes_agree(picture):
    prediction, target = multiclass(picture)
    ours = metrics.count(prediction, target, mode="multiclass", num_classes=3)
    theirs = smp.metrics.get_stats(prediction, target, mode="multiclass", num_classes=3)
    assert all(torch.equal(one, other) for one, other in zip(ours.tensors()[:4], theirs, strict=True))


@pytest.mark.parametrize(("absent", "instead"), [("one", 1.0), ("zero", 0.0)])
@pytest.mark.parametrize("name", ["iou", "f1", "precision", "recall"])
def test_what_an_absent_class_counts_as_is_their_zero_division(name, absent, instead):
    nothing = torch.zeros(1, 3, 4, dtype=torch.long)
    counts = metrics.count(nothing, nothing, mode="binary")
    stats = smp.metrics.get_stats(nothing.unsqueeze(1), nothing.unsqueeze(1), mode="binary")
    ours = metrics.macro(counts, metrics.METRICS[name], absent=absent)
    assert ours.item() == SCORES[name](*stats, reduction="macro", zero_division=instead).item() == instead
