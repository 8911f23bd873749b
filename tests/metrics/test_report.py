import json

import pytest
import torch

from segtrain import metrics
from segtrain.metrics import METRICS, count
from tests.metrics.cases import MODES, counts_of, random_maps


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
        "absent_policy": "exclude",
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


def test_the_policy_moves_the_means_and_is_stated():
    counts = counts_of([[4, 0]], [[0, 0]], [[4, 0]], [[0, 8]])
    scores = metrics.scores(counts, ["cat", "dog"], absent="one")
    assert scores["iou"] == scores["iou_imagewise"] == 0.75
    assert scores["absent_policy"] == "one"
    assert scores["absent"] == ["dog"]
    assert scores["per_class"]["dog"]["iou"] is None


@pytest.mark.parametrize("mode", MODES)
def test_scores_without_a_valid_pixel_are_strict_json(mode):
    task, prediction, target = random_maps(mode, 7)
    scores = metrics.scores(count(prediction, torch.full_like(target, 255), task), task.class_names)
    assert scores["iou"] is scores["accuracy"] is scores["iou_imagewise"] is scores["iou_micro"] is None
    assert scores["absent"] == list(task.class_names)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_table_of_all_metrics_is_strict_json():
    counts = counts_of([[4, 0]], [[0, 0]], [[0, 0]], [[4, 8]])  # infinite and undefined ratios
    table = metrics.per_class(counts.total(), ["cat", "dog"], METRICS)
    assert list(table["cat"]) == [*METRICS, "support"]
    assert table["cat"]["lr+"] is None
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_class_names_must_be_as_many_as_classes():
    with pytest.raises(ValueError, match="2 names for 1 classes"):
        metrics.scores(counts_of([[1]], [[0]], [[0]], [[1]]), ["cat", "dog"])
