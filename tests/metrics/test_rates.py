import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain import metrics
from segtrain.metrics import METRICS, confusion, count, matrix_kappa, matrix_mcc
from tests.metrics.cases import SEEDS, counts_of, random_counts, random_maps

BY_HAND = {  # of 6 true positives, 2 false positives, 1 false negative and 11 true negatives
    "iou": 6 / 9,
    "f1": 12 / 15,
    "dice": 12 / 15,
    "f2": 30 / (30 + 4 + 2),
    "accuracy": 17 / 20,
    "balanced_accuracy": (6 / 7 + 11 / 13) / 2,
    "precision": 6 / 8,
    "ppv": 6 / 8,
    "recall": 6 / 7,
    "sensitivity": 6 / 7,
    "specificity": 11 / 13,
    "npv": 11 / 12,
    "fnr": 1 / 7,
    "fpr": 2 / 13,
    "fdr": 2 / 8,
    "for": 1 / 12,
    "lr+": (6 / 7) / (2 / 13),
    "lr-": (1 / 7) / (11 / 13),
    "mcc": (66 - 2) / math.sqrt(8 * 7 * 13 * 12),
    "cohen_kappa": (17 / 20 - (8 * 7 + 12 * 13) / 400) / (1 - (8 * 7 + 12 * 13) / 400),
}


def score(name, tp, fp, fn, tn):
    return METRICS[name](counts_of([[tp]], [[fp]], [[fn]], [[tn]])).item()


def test_every_metric_is_done_by_hand():
    assert set(BY_HAND) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_by_hand(name):
    value = METRICS[name](counts_of([[6]], [[2]], [[1]], [[11]]))
    assert value.dtype == torch.float64
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(BY_HAND[name], rel=1e-14)


@pytest.mark.parametrize("name", METRICS)
def test_each_definition_is_a_line_of_its_own(name):
    first = METRICS[name].__doc__.splitlines()[0]
    assert first.endswith(".")
    assert any(sign in first for sign in "/,")


LARGER_IS_WORSE = {"fnr", "fpr", "fdr", "for", "lr-"}
UNBOUNDED = {"lr+"}


@pytest.mark.parametrize("name", sorted(set(METRICS) - UNBOUNDED))
def test_a_perfect_class_has_the_best_value(name):
    assert score(name, 5, 0, 0, 7) == (0 if name in LARGER_IS_WORSE else 1)


@pytest.mark.parametrize("name", ["iou", "f1", "f2", "precision", "recall", "lr+", "lr-", "mcc", "cohen_kappa"])
def test_an_absent_class_has_no_value(name):
    assert math.isnan(score(name, 0, 0, 0, 7))


@pytest.mark.parametrize("name", ["specificity", "npv", "fpr", "for", "balanced_accuracy"])
def test_scores_of_the_negatives_have_no_value_where_there_are_none(name):
    assert math.isnan(score(name, 7, 0, 0, 0))


@pytest.mark.parametrize("name", ["iou", "f1", "f2", "precision", "recall"])
@pytest.mark.parametrize("errors", [(3, 0), (0, 3)])
def test_a_class_that_is_missed_or_invented_scores_zero(name, errors):
    assert score(name, 0, *errors, 5) == 0


@settings(max_examples=30)
@given(cells=st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_rates_of_error_complete_rates_of_success(cells):
    for good, bad in (("recall", "fnr"), ("specificity", "fpr"), ("precision", "fdr"), ("npv", "for")):
        assert score(bad, *cells) == pytest.approx(1 - score(good, *cells), nan_ok=True)


@settings(max_examples=30)
@given(cells=st.lists(st.integers(0, 2**40), min_size=4, max_size=4))
def test_f1_follows_from_iou(cells):
    iou, f1 = score("iou", *cells), score("f1", *cells)
    assert f1 == pytest.approx(2 * iou / (1 + iou), nan_ok=True)


@settings(max_examples=30)
@given(cells=st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_f_beta_with_beta_0_is_precision(cells):
    counts = counts_of(*(torch.tensor([[cell]]) for cell in cells))
    torch.testing.assert_close(metrics.fbeta(counts, beta=0.0), metrics.precision(counts), equal_nan=True)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_f_beta_with_beta_1_is_f1(seed):
    counts = random_counts(seed)
    torch.testing.assert_close(metrics.fbeta(counts, beta=1.0), metrics.f1(counts))


def test_scores_do_not_overflow():
    huge = 2**50
    assert score("mcc", huge, 0, 0, huge) == pytest.approx(1)
    assert score("cohen_kappa", huge, huge, huge, huge) == pytest.approx(0)


@pytest.mark.parametrize(("cells", "expected"), [((5, 0, 0, 0), 1), ((0, 5, 0, 0), -1), ((0, 0, 5, 0), -1)])
def test_mcc_of_a_single_kind_of_outcome_says_right_or_wrong(cells, expected):
    assert score("mcc", *cells) == expected


@pytest.mark.parametrize("cells", [(5, 3, 0, 0), (5, 0, 3, 0), (0, 5, 0, 3), (0, 0, 5, 3)])
def test_mcc_of_a_constant_truth_or_prediction_is_zero(cells):
    assert score("mcc", *cells) == 0


def test_kappa_of_nothing_but_the_class_is_one():
    assert score("cohen_kappa", 5, 0, 0, 0) == 1


def test_an_infinite_likelihood_ratio_stays_infinite():
    assert score("lr+", 5, 0, 0, 7) == math.inf


@settings(max_examples=20)
@given(seed=SEEDS)
def test_with_two_labels_agreement_over_labels_is_that_of_the_class(seed):
    task, prediction, target = random_maps("binary", seed)
    matrix, counts = confusion(prediction, target, task).squeeze(1), count(prediction, target, task)
    torch.testing.assert_close(matrix_kappa(matrix), metrics.cohen_kappa(counts).squeeze(1))
    torch.testing.assert_close(matrix_mcc(matrix), metrics.mcc(counts).squeeze(1))


@pytest.mark.parametrize("agreement", [matrix_kappa, matrix_mcc])
def test_agreement_is_one_where_all_is_right_and_nothing_without_pixels(agreement):
    matrices = torch.zeros(3, 2, 2, dtype=torch.int64)
    matrices[0, 0, 0] = matrices[1, 0, 0] = matrices[1, 1, 1] = 5
    assert agreement(matrices).tolist()[:2] == [1, 1]
    assert agreement(matrices)[2].isnan()


def test_a_constant_wrong_label_agrees_as_little_as_can_be():
    matrix = torch.tensor([[0, 5], [0, 0]])
    assert matrix_mcc(matrix) == -1
    assert matrix_kappa(matrix) == 0
