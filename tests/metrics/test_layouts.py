"""What the metrics take for label maps, and for a task."""

import pytest
import torch

from segtrain import metrics
from segtrain.errors import ConfigError, DataError
from segtrain.task import Binary, Multiclass, Multilabel
from tests.metrics.cases import MODES, equal, random_maps

MEASURES = {
    "count": lambda *maps, **how: metrics.count(*maps, **how).tp,
    "confusion": metrics.confusion,
    "count_boundary": lambda *maps, **how: metrics.count_boundary(*maps, **how).tp,
    "surface_distances": lambda *maps, **how: metrics.surface_distances(*maps, **how).hausdorff,
}


@pytest.fixture(params=sorted(MEASURES))
def measure(request):
    return MEASURES[request.param]


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_a_channel_of_a_single_map_is_taken_for_what_it_is(measure, mode):
    task, prediction, target = random_maps(mode, 0)
    expected = measure(prediction, target, task)
    for said, true in [
        (prediction[:, None], target[:, None]),
        (prediction[:, None], target),
        (prediction, target[:, None]),
    ]:
        assert torch.equal(measure(said, true, task).nan_to_num(-1), expected.nan_to_num(-1))


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_and_a_number_of_classes_are_a_task(measure, mode):
    task, prediction, target = random_maps(mode, 1)
    how = {} if mode == "binary" else {"num_classes": 3}
    expected = measure(prediction, target, task).nan_to_num(-1)
    assert torch.equal(measure(prediction, target, mode=mode, **how).nan_to_num(-1), expected)
    assert torch.equal(measure(prediction, target, mode, **how).nan_to_num(-1), expected)


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_a_mode_alone_is_asked_for_its_number_of_classes(measure, mode):
    _, prediction, target = random_maps(mode, 1)
    with pytest.raises(ConfigError, match="num_classes=3"):
        measure(prediction, target, mode=mode)


@pytest.mark.parametrize(
    ("prediction", "target", "task"),
    [
        ((2, 4, 4), (1, 4, 4), Binary()),
        ((2, 4, 4), (2, 4, 5), Binary()),
        ((4, 4), (4, 4), Binary()),
        ((2, 3, 4, 4), (2, 3, 4, 4), Binary()),  # was three groups of labels
        ((2, 3, 4, 4), (2, 3, 4, 4), Multiclass(["a", "b", "c"])),
        ((2, 3, 4, 4), (2, 3, 4, 4), Multilabel(["a", "b"])),
        ((2, 4, 4), (2, 4, 4), Multilabel(["a", "b"])),
        ((2, 2, 4, 4), (2, 1, 4, 4), Multilabel(["a", "b"])),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused_with_both(measure, prediction, target, task):
    with pytest.raises(ValueError, match="expected") as caught:
        measure(torch.zeros(prediction, dtype=torch.long), torch.zeros(target, dtype=torch.long), task)
    assert f"prediction has shape {prediction}, target {target}" in str(caught.value)


def test_truth_may_be_bool_or_whole_floats_and_a_prediction_bool():
    task, prediction, target = random_maps("binary", 2)
    expected = metrics.count(prediction, target, task)
    assert equal(metrics.count(prediction.bool(), target.float(), task), expected)
    true = target == 1
    assert equal(metrics.count(prediction, true, task), metrics.count(prediction, true.long(), task))


@pytest.mark.parametrize("kind", [metrics.Curves, metrics.Calibration])
@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_curves_and_calibration_take_a_mode_and_a_target_with_a_channel(kind, mode):
    task, _, target = random_maps(mode, 3)
    logits = torch.randn(3, task.out_channels, 5, 4, generator=torch.Generator().manual_seed(0))
    one, other = kind(task), kind(mode=mode, num_classes=task.out_channels)
    one.update(logits, target)
    other.update(logits, target[:, None])
    mine, theirs = (m.histogram if kind is metrics.Curves else m.table for m in (one, other))
    assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match=r"logits have shape \(3, \d, 5, 4\), target \(3, 5, 5\)"):
        one.update(logits, torch.zeros(3, 5, 5).long())


@pytest.mark.parametrize("kind", [metrics.Curves, metrics.Calibration])
@pytest.mark.parametrize("mode", MODES)
def test_curves_and_calibration_name_a_wrong_label(kind, mode):
    task, _, target = random_maps(mode, 3)
    target[1, ..., 2, 1] = -7
    logits = torch.zeros(3, task.out_channels, 5, 4)
    with pytest.raises(DataError, match=r"image 1.*holds -7 at row 2, column 1"):
        kind(task).update(logits, target)


@pytest.mark.parametrize("name", ["count_boundary", "surface_distances"])
def test_contours_of_maps_without_a_pixel_are_refused(name):
    with pytest.raises(ValueError, match="holds nothing"):
        MEASURES[name](torch.zeros(2, 0, 4).long(), torch.zeros(2, 0, 4).long(), "binary")


def test_numbers_of_classes_that_are_none_are_refused(measure):
    for number in ("3", 2.0, True, [3]):
        with pytest.raises(ConfigError, match="num_classes: expected an integer"):
            measure(torch.zeros(2, 3, 4).long(), torch.zeros(2, 3, 4).long(), "multiclass", num_classes=number)


def test_scores_name_classes_by_number_where_they_have_no_names():
    counts = metrics.count(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 2]]]), mode="multiclass", num_classes=3)
    assert set(metrics.scores(counts)["per_class"]) == {"0", "1", "2"}
    with pytest.raises(ValueError, match="2 names for 3 classes"):
        metrics.scores(counts, ["a", "b"])
