import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain import metrics
from segtrain.metrics import METRICS, REDUCTIONS, count, iou, recall, specificity
from segtrain.task import Multiclass
from tests.metrics.cases import MODES, SEEDS, counts_of, random_counts, random_maps

TWO_IMAGES = counts_of([[4, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 3]], [[4, 8], [6, 4]])
# classwise iou of the images: 1, absent; 1/2, 1/4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("micro", 6 / 10),
        ("macro", (5 / 6 + 1 / 4) / 2),
        ("weighted", (5 * 5 / 6 + 4 * 1 / 4) / 9),
        ("micro_imagewise", (1 + 2 / 6) / 2),
        ("macro_imagewise", (1 + (1 / 2 + 1 / 4) / 2) / 2),
        ("weighted_imagewise", (1 + (1 * 1 / 2 + 4 * 1 / 4) / 5) / 2),
    ],
)
def test_each_reduction_by_hand(name, expected):
    assert REDUCTIONS[name](TWO_IMAGES, iou).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("absent", ["exclude", "one"])
@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_perfect_prediction_scores_one(name, absent, mode, seed):
    task, _, target = random_maps(mode, seed)
    counts = count(target, target, task)
    for metric in ("iou", "f1", "f2", "precision", "recall", "accuracy", "mcc", "cohen_kappa"):
        assert REDUCTIONS[name](counts, METRICS[metric], absent=absent) == 1


@pytest.mark.parametrize("reduction", [metrics.weighted, metrics.weighted_imagewise])
@settings(max_examples=20)
@given(weights=st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_a_perfect_prediction_scores_one_with_any_weights(reduction, weights):
    maps = torch.tensor([[[0, 1]], [[1, 2]]])
    counts = count(maps, maps, Multiclass(["a", "b", "c"]))
    assert reduction(counts, iou, weights=weights).item() == pytest.approx(1, rel=1e-15)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_equal_weights_are_none(seed):
    counts = random_counts(seed)
    torch.testing.assert_close(metrics.weighted(counts, iou, weights=[2.0] * 3), metrics.macro(counts, iou))


@pytest.mark.parametrize("names", [("micro", "macro", "weighted"), tuple(f"{n}_imagewise" for n in ("micro", "macro"))])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_with_one_class_there_is_nothing_to_choose(names, seed):
    task, prediction, target = random_maps("binary", seed)
    values = [REDUCTIONS[name](count(prediction, target, task), iou).item() for name in names]
    assert values == pytest.approx([values[0]] * len(values))


ONE_ABSENT = counts_of([[4, 0, 2]], [[0, 0, 2]], [[0, 0, 0]], [[4, 8, 4]])


@pytest.mark.parametrize(
    ("absent", "expected"), [("exclude", (1 + 1 / 2) / 2), ("one", (1 + 1 + 1 / 2) / 3), ("zero", (1 + 0 + 1 / 2) / 3)]
)
@pytest.mark.parametrize("reduction", [metrics.macro, metrics.macro_imagewise])
def test_an_absent_class_counts_as_told(reduction, absent, expected):
    assert reduction(ONE_ABSENT, iou, absent=absent).item() == pytest.approx(expected)


def test_absent_classes_are_left_out_of_the_mean():
    assert metrics.macro(ONE_ABSENT, iou).item() == pytest.approx((1 + 1 / 2) / 2)


def test_an_absent_class_takes_its_weight_with_it():
    assert metrics.weighted(ONE_ABSENT, iou, weights=[3, 5, 1]).item() == pytest.approx((3 * 1 + 1 / 2) / 4)


def test_an_absent_class_is_left_out_even_with_a_score_that_it_has():
    assert specificity(ONE_ABSENT).tolist() == [[1, 1, 4 / 6]]
    assert metrics.macro(ONE_ABSENT, specificity).item() == pytest.approx((1 + 4 / 6) / 2)
    assert metrics.macro(ONE_ABSENT, specificity, absent="zero").item() == pytest.approx((1 + 1 + 4 / 6) / 3)


def test_an_image_with_nothing_to_find_and_nothing_found_is_left_out_of_imagewise():
    counts = counts_of([[0], [1]], [[0], [1]], [[0], [0]], [[8], [6]])
    for name in ("micro_imagewise", "macro_imagewise", "weighted_imagewise"):
        assert REDUCTIONS[name](counts, iou).item() == pytest.approx(1 / 2)
        assert REDUCTIONS[name](counts, iou, absent="one").item() == pytest.approx(3 / 4)
        assert REDUCTIONS[name](counts, iou, absent="zero").item() == pytest.approx(1 / 4)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_false_alarms_where_there_is_no_truth_cost(name):
    false_alarm = counts_of([[0]], [[3]], [[0]], [[5]])
    assert REDUCTIONS[name](false_alarm, recall) == 0


@pytest.mark.parametrize("absent", ["exclude", "one", "zero"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_without_a_valid_pixel_there_is_no_score_whatever_the_policy(name, absent):
    ignored = counts_of([[0, 0]], [[0, 0]], [[0, 0]], [[0, 0]])
    assert REDUCTIONS[name](ignored, iou, absent=absent).isnan()


def test_an_image_that_is_ignored_altogether_changes_no_mean():
    ignored = counts_of([[0, 0]], [[0, 0]], [[0, 0]], [[0, 0]])
    more = metrics.Counts.cat([TWO_IMAGES, ignored])
    for reduction in REDUCTIONS.values():
        for absent in ("exclude", "one", "zero"):
            assert reduction(more, iou, absent=absent) == reduction(TWO_IMAGES, iou, absent=absent)


def test_a_class_of_no_weight_may_have_an_infinite_score():
    counts = counts_of([[5, 6]], [[0, 2]], [[0, 1]], [[15, 11]])
    ratio = metrics.positive_likelihood_ratio
    assert metrics.weighted(counts, ratio, weights=[0, 1]).item() == pytest.approx((6 / 7) / (2 / 13))
    assert metrics.macro(counts, ratio).item() == math.inf


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_weights_that_cannot_be_meant_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights are \[.*\], expected 2, none negative and not all 0"):
        metrics.weighted(TWO_IMAGES, iou, weights=weights)


def test_many_resamples_are_reduced_at_once():
    counts = random_counts(0)
    draws = torch.tensor([[1, 1, 1, 1], [0, 2, 0, 2]])
    resampled = counts.map(lambda tensor: draws @ tensor)
    images = [[0, 1, 2, 3], [1, 1, 3, 3]]
    expected = [metrics.macro(counts.map(lambda tensor, at=at: tensor[at]), iou) for at in images]
    torch.testing.assert_close(metrics.class_mean(resampled, iou), torch.stack(expected))
