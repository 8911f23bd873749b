import json

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain import metrics
from segtrain.metrics import Counts, count
from segtrain.task import Binary, Multiclass, Multilabel, Task, make_task

MODES = ["binary", "multiclass", "multilabel"]
FIELDS = ["tp", "fp", "fn", "tn"]


def random_maps(mode: str, seed: int, *, images: int = 3, classes: int = 3, ignore_index: int = 255):
    """A task, and prediction and target with some ignored pixels."""
    rng = np.random.default_rng(seed)
    names = ["fg"] if mode == "binary" else [f"c{i}" for i in range(classes)]
    task = make_task(mode, names, ignore_index=ignore_index)
    shape = (images, *((len(names),) if mode == "multilabel" else ()), 5, 4)
    prediction, target = rng.integers(0, task.num_labels, shape), rng.integers(0, task.num_labels, shape)
    target[rng.random(shape) < 0.2] = ignore_index
    return task, torch.from_numpy(prediction), torch.from_numpy(target)


def brute_force(prediction: torch.Tensor, target: torch.Tensor, task: Task) -> dict[str, np.ndarray]:
    """Tell every image and scored class apart with plain comparisons."""
    table = {field: np.zeros((len(target), len(task.class_names)), dtype=np.int64) for field in FIELDS}
    for n, c in np.ndindex(table["tp"].shape):
        one_map = task.mode == "multilabel"
        label = c if task.mode == "multiclass" else 1
        said, true = ((maps[n, c] if one_map else maps[n]).numpy() for maps in (prediction, target))
        kept = true != task.ignore_index
        said, true = said[kept] == label, true[kept] == label
        for field, hits in zip(FIELDS, (said & true, said & ~true, ~said & true, ~said & ~true), strict=True):
            table[field][n, c] = hits.sum()
    return table


def counts_of(tp, fp, fn, tn) -> Counts:
    """Counts (N, C) of a task in which every label decision is a class of its own."""
    tp, fp, fn, tn = (torch.tensor(values) for values in (tp, fp, fn, tn))
    return Counts(tp, fp, fn, tn, (tp + tn).sum(1), (tp + fp + fn + tn).sum(1))


@settings(max_examples=60, deadline=None)
@given(mode=st.sampled_from(MODES), seed=st.integers(0, 2**32 - 1), ignore_index=st.sampled_from([255, -1, -100, 3]))
def test_counts_are_those_of_plain_comparisons(mode, seed, ignore_index):
    task, prediction, target = random_maps(mode, seed, ignore_index=ignore_index)
    counts = count(prediction, target, task)
    for field, expected in brute_force(prediction, target, task).items():
        np.testing.assert_array_equal(getattr(counts, field).numpy(), expected)
        assert getattr(counts, field).dtype == torch.int64


@settings(max_examples=30, deadline=None)
@given(mode=st.sampled_from(MODES), seed=st.integers(0, 2**32 - 1))
def test_correct_and_decided_compare_labels(mode, seed):
    task, prediction, target = random_maps(mode, seed)
    counts = count(prediction, target, task)
    kept = (target != 255).flatten(1)
    assert torch.equal(counts.decided, kept.sum(1))
    assert torch.equal(counts.correct, ((prediction == target).flatten(1) & kept).sum(1))


@pytest.mark.parametrize("mode", MODES)
def test_counts_of_batches_join_to_those_of_all_images(mode):
    task, prediction, target = random_maps(mode, 0, images=5)
    parts = [count(prediction[part], target[part], task) for part in (slice(2), slice(2, 5))]
    whole = count(prediction, target, task)
    joined, added = Counts.cat(parts), parts[0].total() + parts[1].total()
    assert all(torch.equal(a, b) for a, b in zip(joined.tensors(), whole.tensors(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(added.tensors(), whole.total().tensors(), strict=True))


def test_multiclass_counts_are_those_of_smp():
    task, prediction, target = random_maps("multiclass", 1)
    theirs = smp.metrics.get_stats(prediction, target, mode="multiclass", num_classes=3, ignore_index=255)
    ours = count(prediction, target, task)
    for field, expected in zip(FIELDS, theirs, strict=True):
        assert torch.equal(getattr(ours, field), expected)


def test_counting_is_exact_beyond_the_integers_of_float32():
    side = 4097  # 4097 ** 2 > 2 ** 24
    target = torch.zeros(1, side, side, dtype=torch.uint8)
    target[0, 0, 0] = 1
    counts = count(torch.zeros_like(target), target, Multiclass(["a", "b"]))
    assert counts.tp.tolist() == [[side**2 - 1, 0]]
    assert counts.fp.tolist() == [[1, 0]]


def test_small_integer_labels_count_like_large_ones():
    task, prediction, target = random_maps("multiclass", 2)
    small = count(prediction.to(torch.uint8), target.to(torch.uint8), task)
    assert torch.equal(small.tp, count(prediction, target, task).tp)


def test_counting_changes_neither_map():
    task, prediction, target = random_maps("multiclass", 3)
    before = prediction.clone(), target.clone()
    count(prediction, target, task)
    assert torch.equal(prediction, before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("wrong", [200, 3, -1, 256])
def test_a_wrong_label_in_the_target_is_named_with_its_place(wrong):
    target = torch.full((2, 3, 4), 255)
    target[1, 2, 3] = wrong
    with pytest.raises(ValueError, match=rf"^target holds {wrong} at \(1, 2, 3\), expected 0\.\.2 or 255 \(ignored\)$"):
        count(torch.zeros_like(target), target, Multiclass(["a", "b", "c"]))


@pytest.mark.parametrize("task", [Binary(), Multilabel(["a"])])
def test_two_label_targets_of_0_and_254_are_refused(task):
    target = torch.tensor([[[[0, 254]]]])
    target = target if task.mode == "multilabel" else target[0]
    with pytest.raises(ValueError, match=r"target holds 254 at .*expected 0\.\.1 or 255"):
        count(torch.zeros_like(target), target, task)


def test_a_wrong_label_in_the_prediction_is_named():
    prediction = torch.tensor([[[0, 255]]])
    with pytest.raises(ValueError, match=r"prediction holds 255 at \(0, 0, 1\), expected 0\.\.1$"):
        count(prediction, torch.zeros_like(prediction), Binary())


def test_maps_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 2, 2\), target \(1, 4, 4\)"):
        count(torch.zeros(1, 2, 2).long(), torch.zeros(1, 4, 4).long(), Binary())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.iou, smp.metrics.iou_score),
        (metrics.f1, smp.metrics.f1_score),
        (metrics.precision, smp.metrics.precision),
        (metrics.recall, smp.metrics.recall),
        (metrics.accuracy, smp.metrics.accuracy),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_scores_are_those_of_smp_where_every_class_is_there(mode, ours, theirs):
    task, prediction, target = random_maps(mode, 4)
    target[target == 255] = 0
    counts = count(prediction, target, task)
    stats = (counts.tp, counts.fp, counts.fn, counts.tn)
    assert metrics.micro(counts, ours).item() == pytest.approx(theirs(*stats, reduction="micro").item())
    assert metrics.macro(counts, ours).item() == pytest.approx(theirs(*stats, reduction="macro").item())
    assert metrics.imagewise(counts, ours).item() == pytest.approx(theirs(*stats, reduction="macro-imagewise").item())


def test_each_metric_by_hand():
    counts = counts_of([[6]], [[2]], [[1]], [[11]])
    by_hand = {
        metrics.iou: 6 / 9,
        metrics.f1: 12 / 15,
        metrics.precision: 6 / 8,
        metrics.recall: 6 / 7,
        metrics.accuracy: 17 / 20,
    }
    for metric, expected in by_hand.items():
        value = metric(counts)
        assert value.dtype == torch.float64
        assert value.tolist() == [[expected]]


@settings(max_examples=30, deadline=None)
@given(cells=st.lists(st.integers(0, 2**40), min_size=4, max_size=4))
def test_f1_follows_from_iou(cells):
    counts = counts_of(*([[cell]] for cell in cells))
    iou, f1 = metrics.iou(counts).item(), metrics.f1(counts).item()
    assert f1 == pytest.approx(2 * iou / (1 + iou), nan_ok=True)


def test_absent_classes_are_left_out_of_the_mean():
    counts = counts_of([[4, 0, 2]], [[0, 0, 2]], [[0, 0, 0]], [[4, 8, 4]])
    assert metrics.macro(counts, metrics.iou).item() == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_that_is_missed_or_invented_scores_zero():
    counts = counts_of([[0, 0]], [[0, 3]], [[3, 0]], [[5, 5]])
    for metric in (metrics.iou, metrics.f1, metrics.precision, metrics.recall):
        assert metric(counts).tolist() == [[0, 0]]


def test_micro_sums_classes_before_it_scores():
    counts = counts_of([[4, 0], [1, 0]], [[0, 2], [0, 0]], [[0, 1], [1, 0]], [[4, 5], [6, 8]])
    assert metrics.micro(counts, metrics.iou).item() == pytest.approx(5 / 9)


def test_imagewise_takes_each_image_over_its_own_classes():
    counts = counts_of([[4, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 3]], [[4, 8], [6, 4]])
    assert metrics.imagewise(counts, metrics.iou).item() == pytest.approx((1 + (1 / 2 + 1 / 4) / 2) / 2)


def test_an_image_with_nothing_to_find_and_nothing_found_is_left_out_of_imagewise():
    counts = counts_of([[0], [1]], [[0], [1]], [[0], [0]], [[8], [6]])
    assert metrics.imagewise(counts, metrics.iou).item() == pytest.approx(1 / 2)


def test_the_headline_accuracy_is_the_share_of_pixels_right():
    for mode in MODES:
        task, prediction, target = random_maps(mode, 5)
        accuracy = metrics.scores(count(prediction, target, task), task.class_names)["accuracy"]
        kept = target != 255
        assert accuracy == pytest.approx((prediction == target)[kept].double().mean().item())


def test_the_binary_headline_is_that_of_the_foreground():
    task, prediction, target = random_maps("binary", 6)
    scores = metrics.scores(count(prediction, target, task), task.class_names)
    assert scores["iou"] == scores["per_class"]["fg"]["iou"]
    assert scores["accuracy"] == pytest.approx(scores["per_class"]["fg"]["accuracy"])


def test_scores_hold_exactly_what_is_promised():
    counts = counts_of([[4, 0]], [[0, 0]], [[4, 0]], [[0, 8]])
    assert metrics.scores(counts, ["cat", "dog"]) == {
        "iou": 0.5,
        "iou_imagewise": 0.5,
        "iou_micro": 0.5,
        "f1": pytest.approx(2 / 3),
        "precision": 1.0,
        "recall": 0.5,
        "accuracy": 0.75,
        "absent": ["dog"],
        "per_class": {
            "cat": {
                "iou": 0.5,
                "f1": pytest.approx(2 / 3),
                "precision": 1.0,
                "recall": 0.5,
                "accuracy": 0.5,
                "support": 8,
            },
            "dog": {"iou": None, "f1": None, "precision": None, "recall": None, "accuracy": 1.0, "support": 0},
        },
    }


@pytest.mark.parametrize("mode", MODES)
def test_scores_without_a_valid_pixel_are_strict_json(mode):
    task, prediction, target = random_maps(mode, 7)
    scores = metrics.scores(count(prediction, torch.full_like(target, 255), task), task.class_names)
    assert scores["iou"] is scores["accuracy"] is scores["iou_imagewise"] is scores["iou_micro"] is None
    assert scores["absent"] == list(task.class_names)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_perfect_prediction_scores_one():
    task, prediction, _ = random_maps("multiclass", 8)
    scores = metrics.scores(count(prediction, prediction, task), task.class_names)
    names = ["iou", "iou_imagewise", "iou_micro", "f1", "precision", "recall", "accuracy"]
    assert [scores[name] for name in names] == [1.0] * 7


def test_class_names_must_be_as_many_as_classes():
    with pytest.raises(ValueError, match="zip"):
        metrics.scores(counts_of([[1]], [[0]], [[0]], [[1]]), ["cat", "dog"])


def test_counts_do_not_change():
    with pytest.raises(AttributeError):
        counts_of([[1]], [[0]], [[0]], [[1]]).tp = torch.zeros(1, 1)
