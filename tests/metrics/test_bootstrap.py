import json

import numpy as np
import pytest
import torch
from scipy import stats

from segtrain import metrics
from segtrain.metrics import Counts, class_mean, iou
from segtrain.metrics.bootstrap import HEADLINES, paired_differences, score_intervals
from tests.metrics.cases import counts_of, random_counts

NAMES = ["cat", "dog", "owl"]


def images(counts, chosen):
    return counts.map(lambda tensor: tensor[chosen])


def slow_replicates(counts, *, replicates, seed, absent="exclude"):
    """Score every replicate as a data set of its own, image by image."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(counts.tp), (replicates, len(counts.tp)), generator=generator)
    return [metrics.scores(images(counts, draw), NAMES, absent=absent) for draw in draws]


def interval_of(values):
    return np.nanquantile(np.array(values, float), [0.025, 0.975]).tolist()


@pytest.mark.parametrize("absent", ["exclude", "one", "zero"])
def test_intervals_are_those_of_a_loop_over_resampled_images(absent):
    counts = random_counts(0, images=7)
    rare = torch.tensor([1, 0, 0, 0, 0, 0, 0]).unsqueeze(1)
    only_once = counts_of(
        *(pixels * torch.cat([torch.ones(7, 2).long(), rare], 1) for pixels in counts.tensors()[:3]), counts.tn
    )
    found = score_intervals(only_once, NAMES, absent=absent, replicates=50, seed=3)
    rows = slow_replicates(only_once, replicates=50, seed=3, absent=absent)
    for name in HEADLINES:
        assert found[name] == pytest.approx(interval_of([row[name] for row in rows]), rel=1e-12)
    for name in NAMES:
        for metric in metrics.PER_CLASS:
            values = [row["per_class"][name][metric] for row in rows]
            assert found["per_class"][name][metric] == pytest.approx(interval_of(values), rel=1e-12)


def test_the_image_wise_interval_agrees_with_scipy():
    counts = random_counts(1, images=40)
    values = class_mean(counts, iou).numpy()
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=0)
    ours = score_intervals(counts, NAMES, replicates=20_000)["iou_imagewise"]
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours == pytest.approx([theirs.confidence_interval.low, theirs.confidence_interval.high], abs=0.03 * width)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    held, trials = 0, 300
    for _ in range(trials):  # iou is a share of 100 pixels whose expectation is 0.6
        share = torch.rand(60, 1, generator=generator) * 0.8 + 0.2
        right = (100 * share).long()
        counts = counts_of(right, 100 - right, torch.zeros(60, 1).long(), torch.zeros(60, 1).long())
        low, high = score_intervals(counts, ["cat"], replicates=200, confidence=0.9)["iou"]
        held += low <= 0.595 <= high  # half a pixel is cut off
    assert 0.84 <= held / trials <= 0.95


def test_more_confidence_is_wider():
    counts = random_counts(2, images=20)
    narrow, wide = (score_intervals(counts, NAMES, confidence=level)["iou"] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_interval_of_one_image_has_no_width():
    counts = random_counts(3, images=1)
    value, found = metrics.scores(counts, NAMES), score_intervals(counts, NAMES, replicates=20)
    assert {name: found[name] for name in HEADLINES} == {name: [value[name]] * 2 for name in HEADLINES}


def test_a_class_that_some_replicates_lack_is_scored_over_the_others():
    counts = counts_of([[4, 4], [2, 0]], [[0, 4], [2, 0]], [[0, 0], [0, 0]], [[4, 0], [4, 8]])
    found = score_intervals(counts, ["cat", "dog"])
    assert found["per_class"]["dog"]["iou"] == [0.5, 0.5]
    assert found["iou"] == [0.5, 0.75]  # both images 0, or both images 1


def test_a_class_that_is_nowhere_has_no_interval():
    counts = counts_of([[4, 0], [2, 0]], [[0, 0], [2, 0]], [[0, 0], [0, 0]], [[4, 8], [4, 8]])
    found = score_intervals(counts, ["cat", "dog"])
    assert found["per_class"]["dog"]["iou"] is None
    assert found["iou"] == found["per_class"]["cat"]["iou"] == [0.5, 1.0]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_images_without_a_score_are_left_out_of_the_image_wise_interval():
    empty = counts_of([[0]] * 30, [[0]] * 30, [[0]] * 30, [[8]] * 30)
    counts = Counts.cat([empty, counts_of([[4]], [[4]], [[0]], [[0]])])
    assert score_intervals(counts, ["cat"])["iou_imagewise"] == [0.5, 0.5]


def test_counts_beyond_single_precision_are_summed_exactly():
    big = 2**24 + 1
    counts = counts_of([[big], [big]], [[0], [0]], [[1], [1]], [[0], [0]])
    assert score_intervals(counts, ["cat"], replicates=20)["iou"] == [2 * big / (2 * big + 2)] * 2


def test_a_seed_fixes_the_intervals_and_leaves_the_global_generator_alone():
    counts = random_counts(4, images=12)
    before = torch.get_rng_state()
    first, again, other = (score_intervals(counts, NAMES, replicates=50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other


def test_many_images_are_drawn_in_parts(monkeypatch):
    counts = random_counts(5, images=10)
    whole = score_intervals(counts, NAMES, replicates=64)
    monkeypatch.setattr("segtrain.metrics.bootstrap._AT_ONCE", 30)
    assert score_intervals(counts, NAMES, replicates=64) == whole


def test_class_names_must_be_as_many_as_classes():
    with pytest.raises(ValueError, match="2 class names for counts of 3 classes"):
        score_intervals(random_counts(0), NAMES[:2])


def test_a_pair_states_both_scores_and_their_difference():
    a, b = random_counts(6, images=9), random_counts(7, images=9)
    found = paired_differences(a, b, NAMES)
    before, after = metrics.scores(a, NAMES), metrics.scores(b, NAMES)
    for name in HEADLINES:
        assert found[name]["a"] == pytest.approx(before[name], rel=1e-14)
        assert found[name]["b"] == pytest.approx(after[name], rel=1e-14)
        assert found[name]["difference"] == pytest.approx(after[name] - before[name], abs=1e-11)
    assert found["per_class"]["owl"]["recall"]["b"] == pytest.approx(after["per_class"]["owl"]["recall"], rel=1e-14)


def better_by(gain, *, count, noise=0):
    """Counts of two models on images that differ far more from each other than the models do."""
    rng = np.random.default_rng(0)
    right = rng.integers(100, 900, (count, 1))
    more = np.clip(right + gain + rng.integers(-noise, noise + 1, right.shape), 0, 1000)
    zero = np.zeros_like(right)
    return [counts_of(*map(torch.from_numpy, (tp, 1000 - tp, zero, zero))) for tp in (right, more)]


def test_pairing_narrows_the_interval_of_a_difference():
    a, b = better_by(20, count=30, noise=10)
    low, high = paired_differences(a, b, ["cat"])["iou"]["interval"]
    alone = [np.ptp(score_intervals(counts, ["cat"])["iou"]) for counts in (a, b)]
    assert 0 < low < high
    assert high - low < 0.1 * min(alone)


def test_the_difference_draws_the_same_images_for_both():
    a, b = better_by(20, count=30)
    assert paired_differences(a, b, ["cat"])["iou"]["interval"] == pytest.approx([0.02, 0.02])


def test_p_is_small_for_a_clear_difference_but_never_zero():
    a, b = better_by(20, count=30)
    assert paired_differences(a, b, ["cat"], replicates=999)["iou"]["p"] == pytest.approx(2 / 1000)
    assert paired_differences(b, a, ["cat"], replicates=999)["iou"]["p"] == pytest.approx(2 / 1000)


def test_equal_models_differ_by_nothing_with_certainty():
    counts = random_counts(8, images=11)
    rows = paired_differences(counts, counts.map(torch.clone), NAMES)
    for row in [rows["iou"], rows["iou_imagewise"], rows["per_class"]["dog"]["precision"]]:
        assert (row["difference"], row["interval"], row["p"]) == (0, [0, 0], 1)


def test_p_falls_below_the_level_where_the_interval_leaves_zero_out():
    agree = 0
    for seed in range(40):
        a, b = random_counts(seed, images=6, classes=1), random_counts(seed + 100, images=6, classes=1)
        row = paired_differences(a, b, ["cat"], confidence=0.8)["iou"]
        low, high = row["interval"]
        agree += (low > 0 or high < 0) == (row["p"] < 0.2)
    assert agree >= 38  # they may differ by a replicate at the border


def test_p_is_rarely_small_where_models_differ_by_chance():
    small = 0
    for seed in range(100):
        a, b = random_counts(seed, images=40, classes=1), random_counts(seed + 1000, images=40, classes=1)
        small += paired_differences(a, b, ["cat"], replicates=200)["iou_imagewise"]["p"] < 0.1
    assert 2 <= small <= 20


def test_a_pair_without_a_score_is_none():
    counts = counts_of([[4, 0]], [[0, 0]], [[4, 0]], [[0, 8]])
    row = paired_differences(counts, counts, ["cat", "dog"])["per_class"]["dog"]["iou"]
    assert row == {"a": None, "b": None, "difference": None, "interval": None, "p": None}


def test_a_pair_of_other_images_is_refused():
    with pytest.raises(ValueError, match="expected the same images"):
        paired_differences(random_counts(0, images=3), random_counts(0, images=4), NAMES)


def test_what_cannot_be_drawn_or_be_an_interval_is_refused():
    counts = random_counts(3, images=4, classes=2)
    for options in ({"replicates": 0}, {"confidence": 2.0}, {"confidence": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            score_intervals(counts, ["a", "b"], **options)
    with pytest.raises(ValueError, match="replicates of 0 images, expected at least one"):
        score_intervals(random_counts(3, images=0, classes=2), ["a", "b"])
