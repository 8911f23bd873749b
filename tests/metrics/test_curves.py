import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn.metrics import average_precision_score, precision_recall_curve

from segtrain.metrics import count, f1, iou
from segtrain.metrics.curves import Curves
from segtrain.task import Binary, Multiclass, Multilabel, make_task
from tests.metrics.cases import MODES, SEEDS, equal


def random_batch(mode: str, seed: int, *, images: int = 3, classes: int = 3, size: int = 12):
    """A task, logits that know something of the target, and the target with some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    names = ["fg"] if mode == "binary" else [f"c{i}" for i in range(classes)]
    task = make_task(mode, names)
    shape = (images, *((len(names),) if mode == "multilabel" else ()), size, size)
    target = torch.randint(task.num_labels, shape, generator=generator)
    logits = torch.randn(images, len(names), size, size, generator=generator)
    logits += 2 * task.one_hot(target, logits)
    target[torch.rand(shape, generator=generator) < 0.2] = task.ignore_index
    return task, logits, target


def curves_of(task, logits, target, *, bins: int = 2048) -> Curves:
    curves = Curves(task, bins=bins)
    curves.update(logits, target)
    return curves


def scores_and_truth(task, logits, target, c: int):
    """The probabilities of a class at its valid pixels, and whether it is there."""
    valid = task.valid(target).expand_as(logits)[:, c]
    truth = task.one_hot(target, logits)[:, c]
    return task.activation(logits)[:, c][valid].numpy(), truth[valid].numpy()


def against_the_rest(logits):
    others = [logits[:, [k for k in range(logits.shape[1]) if k != c]].logsumexp(1) for c in range(logits.shape[1])]
    return logits - torch.stack(others, 1)


def logits_and_truth(task, logits, target, c: int):
    """The logits of a class's probability at its valid pixels, and whether it is there."""
    own = logits if task.has_thresholds else against_the_rest(logits.double())
    valid = task.valid(target).expand_as(logits)[:, c]
    return own[:, c][valid].numpy(), task.one_hot(target, logits)[:, c][valid].numpy()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_the_histogram_is_numpys(mode, seed):
    task, logits, target = random_batch(mode, seed)
    histogram = curves_of(task, logits, target, bins=8).histogram
    edges = np.array([-np.inf, -24, -8, -8 / 3, 0, 8 / 3, 8, 24, np.inf])
    for c in range(len(task.class_names)):
        scores, truth = logits_and_truth(task, logits, target, c)
        for yes in (0, 1):
            np.testing.assert_array_equal(histogram[c, yes], np.histogram(scores[truth == yes], edges)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_the_counts_at_one_half_are_those_of_the_predicted_labels(mode, dtype):
    task, logits, target = random_batch(mode, 1)
    logits = logits.to(dtype)
    tiny = torch.finfo(dtype).smallest_normal
    logits[..., :4] = torch.tensor([tiny, -tiny, 0.0, -0.0]).to(dtype)
    target[..., :4] = 1
    at_half = curves_of(task, logits, target).counts().map(lambda tensor: tensor[1024])
    assert equal(at_half, count(task.predict(logits), target, task).total())


def test_the_counts_at_other_thresholds_are_those_of_comparing_with_them():
    task, logits, target = random_batch("binary", 2)
    curves = curves_of(task, logits, target, bins=64)
    counts, thresholds = curves.counts(), curves.thresholds()
    for place in (0, 28, 32, 35):
        said = (logits.double().sigmoid() > thresholds[place]).squeeze(1).long()
        expected = count(said, target, task).total()
        assert equal(counts.map(lambda tensor, place=place: tensor[place]), expected)


@pytest.mark.parametrize("mode", MODES)
def test_batches_and_ranks_add_up(mode):
    task, logits, target = random_batch(mode, 3)
    whole = curves_of(task, logits, target).histogram
    streamed = curves_of(task, logits[:1], target[:1])
    streamed.update(logits[1:], target[1:])
    ranks = [curves_of(task, logits[part], target[part]).histogram for part in (slice(1), slice(1, 3))]
    assert torch.equal(streamed.histogram, whole)
    assert torch.equal(sum(ranks), whole)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_of_rows_give_what_all_at_once_give(mode, monkeypatch):
    task, logits, target = random_batch(mode, 4)
    together = curves_of(task, logits, target).histogram
    monkeypatch.setattr("segtrain.metrics.curves._CACHED", 1)
    assert torch.equal(curves_of(task, logits, target).histogram, together)


@pytest.mark.parametrize("mode", MODES)
def test_memory_order_and_label_type_do_not_matter(mode):
    task, logits, target = random_batch(mode, 5, classes=4)
    mixed = curves_of(task, logits.contiguous(memory_format=torch.channels_last), target.to(torch.uint8))
    assert torch.equal(mixed.histogram, curves_of(task, logits, target).histogram)


@pytest.mark.parametrize("mode", MODES)
def test_every_valid_pixel_counts_once_for_each_class(mode):
    task, logits, target = random_batch(mode, 6)
    histogram = curves_of(task, logits, target).histogram
    expected = task.valid(target).expand_as(logits).sum((0, 2, 3))
    assert torch.equal(histogram.sum((1, 2)), expected)


def test_extreme_logits_stay_within_the_bins():
    logits = torch.tensor([-torch.inf, torch.inf, -1e4, 1e4, torch.nan]).view(1, 1, 1, 5)
    histogram = curves_of(Binary(), logits, torch.ones(1, 1, 5).long(), bins=10).histogram
    assert histogram[0, 1].tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]


def test_updating_changes_neither_logits_nor_target():
    task, logits, target = random_batch("multiclass", 7)
    before = logits.clone(), target.clone()
    curves_of(task, logits, target)
    assert torch.equal(logits, before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("certainty", [0.1, 1, 10])
@pytest.mark.parametrize("mode", MODES)
def test_average_precision_is_scikit_learns_however_certain_the_model(mode, certainty):
    task, logits, target = random_batch(mode, 9, size=64)
    logits *= certainty
    result = curves_of(task, logits, target).result()
    for c in range(len(task.class_names)):
        scores, truth = logits_and_truth(task, logits, target, c)
        exact = average_precision_score(truth, np.nan_to_num(scores))
        assert float(result.average_precision[c]) == pytest.approx(exact, abs=5e-4)


def test_pixels_that_cannot_be_told_apart_have_the_precision_of_guessing():
    truth = torch.tensor([[[1, 0, 0, 0, 1, 0, 0, 0]]])
    (area,) = curves_of(Binary(), torch.zeros(1, 1, 1, 8), truth).result().average_precision
    assert area == 0.25


def test_the_curve_goes_through_scikit_learns_points():
    task, logits, target = random_batch("binary", 10, size=8)
    result = curves_of(task, logits, target).result()
    scores, truth = logits_and_truth(task, logits, target, 0)
    precisions, recalls, _ = precision_recall_curve(truth, np.ceil(scores * np.float32(1024) / (np.abs(scores) + 8)))
    ours = {pair for pair in zip(result.precision[0].tolist(), result.recall[0].tolist(), strict=True) if pair[1] > 0}
    theirs = {pair for pair in zip(precisions.tolist(), recalls.tolist(), strict=True) if pair[1] > 0}
    assert ours == theirs


@settings(max_examples=20)
@given(seed=SEEDS)
def test_the_threshold_with_the_best_f1_has_the_best_iou(seed):
    task, logits, target = random_batch("multiclass", seed, images=1, size=6)
    curves = curves_of(task, logits, target)
    for best, ious, f1s in zip(curves.result().best, iou(curves.counts()).T, f1(curves.counts()).T, strict=True):
        assert best.f1 == f1s.max()
        assert best.iou == ious.max()


def test_the_best_threshold_gives_its_scores_when_applied():
    task, logits, target = random_batch("multilabel", 11)
    for c, best in enumerate(curves_of(task, logits, target).result().best):
        scores, truth = scores_and_truth(task, logits, target, c)
        said = scores > best.threshold
        tp, union = (said & (truth == 1)).sum(), (said | (truth == 1)).sum()
        assert best.iou == pytest.approx(tp / union)
        assert best.precision == pytest.approx(tp / said.sum())
        assert best.recall == pytest.approx(tp / truth.sum())
        assert best.f1 == pytest.approx(2 * tp / (said.sum() + truth.sum()))


@pytest.mark.parametrize(("no", "yes", "middle"), [(-torch.inf, torch.inf, 0), (-3, 3, 0), (0.2, 0.4, 0.3)])
def test_between_separated_classes_the_threshold_is_in_the_middle(no, yes, middle):
    logits = torch.tensor([no, no, yes]).view(1, 1, 1, 3)
    (best,) = curves_of(Binary(), logits, torch.tensor([[[0, 0, 1]]])).result().best
    assert math.log(best.threshold / (1 - best.threshold)) == pytest.approx(middle, abs=0.03)
    assert (best.iou, best.f1, best.precision, best.recall) == (1, 1, 1, 1)


def test_a_class_without_truth_has_neither_curve_nor_threshold():
    curves = curves_of(Multiclass(["a", "b"]), torch.randn(1, 2, 4, 4), torch.zeros(1, 4, 4).long())
    result = curves.result()
    assert result.best[1] is None
    assert result.best[0] is not None
    assert result.average_precision.isnan().tolist() == [False, True]
    assert result.precision[1].isnan().all()
    assert result.recall[1].isnan().all()


def test_nothing_valid_gives_no_curve():
    result = curves_of(Multilabel(["a", "b"]), torch.randn(1, 2, 4, 4), torch.full((1, 2, 4, 4), 255)).result()
    assert result.best == (None, None)
    assert result.average_precision.isnan().all()


def test_precision_is_undefined_where_nothing_says_yes():
    logits = torch.tensor([0.2, 0.7]).logit().view(1, 1, 1, 2)
    result = curves_of(Binary(), logits, torch.tensor([[[0, 1]]]), bins=8).result()
    assert result.precision[0].tolist()[:5] == [
        0.5,
        0.5,
        0.5,
        0.5,
        1,
    ]
    assert result.precision[0, 5:].isnan().all()
    assert result.recall[0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def test_counts_are_exact_beyond_the_integers_of_float32():
    curves = curves_of(Binary(), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1).long())
    curves.histogram *= 2**24
    curves.update(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1).long())
    assert int(curves.histogram.sum()) == 2**24 + 1


@pytest.mark.parametrize("mode", MODES)
def test_intervals_of_average_precision_are_those_of_drawing_whole_images(mode):
    task, logits, target = random_batch(mode, 5, images=12)
    curves = curves_of(task, logits[:5], target[:5])
    curves.update(logits[5:], target[5:])
    drawn = torch.randint(12, (400, 12), generator=torch.Generator().manual_seed(1))
    areas = [curves_of(task, logits[rows], target[rows]).result().average_precision for rows in drawn]
    replicates = torch.stack([torch.cat([area.nanmean()[None], area]) for area in areas])
    expected = replicates.nanquantile(torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0).T
    found = torch.tensor(curves.intervals(replicates=2000, confidence=0.9), dtype=torch.float64)
    width = (expected[:, 1] - expected[:, 0]).mean()
    assert (found - expected).abs().max() < 0.25 * width


@pytest.mark.parametrize(("factor", "shift"), [(2, -12), (1, 12), (0.03, 0), (100, 0)])
def test_the_interval_holds_the_average_precision_wherever_the_logits_are(factor, shift):
    random = torch.randn(30, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    target = (random + random.roll(1, -1) / 2 > 1).long().squeeze(1)
    curves = curves_of(Binary(), random * factor + shift, target)
    (area,) = curves.result().average_precision
    for low, high in curves.intervals(replicates=200, confidence=0.95):
        assert low < area < high < low + 0.05


def test_a_class_without_truth_has_no_interval():
    task = make_task("multiclass", ["sky", "cat", "dog"])
    target = torch.randint(2, (4, 8, 8))
    mean, sky, cat, dog = curves_of(task, torch.randn(4, 3, 8, 8), target).intervals(replicates=50, confidence=0.9)
    assert dog is None
    assert all(0 < low <= high < 1 for low, high in (mean, sky, cat))


@pytest.mark.parametrize("bins", [0, 7])
def test_bins_that_one_half_does_not_divide_are_refused(bins):
    with pytest.raises(ValueError, match=rf"^bins is {bins}, expected an even number"):
        Curves(Binary(), bins=bins)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_a_gpu_counts_alike_and_is_not_waited_for(mode):
    task, logits, target = random_batch(mode, 5, images=12)
    curves = Curves(task, bins=10)
    on_gpu = logits.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("error")
    curves.update(*on_gpu)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(curves.histogram.cpu(), curves_of(task, logits, target, bins=10).histogram)


def test_there_are_no_intervals_before_the_first_image():
    assert Curves(Multiclass(["a", "b"])).intervals(replicates=10, confidence=0.95) == [None] * 3
