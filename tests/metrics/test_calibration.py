import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from segtrain.metrics.calibration import TEMPERATURES, Calibration, CalibrationScores
from segtrain.task import Binary, make_task
from tests.metrics.cases import MODES


def calibrated_batch(mode: str, *, images: int = 2, classes: int = 4, size: int = 160, spread: float = 2.0):
    """A task, logits, and a target drawn from the very probabilities that they give."""
    torch.manual_seed(3)
    names = ["fg"] if mode == "binary" else [f"c{i}" for i in range(classes)]
    task = make_task(mode, names)
    logits = torch.randn(images, len(names), size, size) * spread
    probabilities = task.activation(logits)
    if mode == "multiclass":
        return task, logits, torch.distributions.Categorical(probabilities.movedim(1, -1)).sample()
    return task, logits, torch.bernoulli(probabilities).long().view(-1, *logits.shape[2 - (mode == "multilabel") :])


def calibration_of(task, logits, target, **options) -> Calibration:
    calibration = Calibration(task, **options)
    calibration.update(logits, target)
    calibration.add_samples()
    return calibration


def as_numbers(scores: CalibrationScores) -> list[float]:
    values = dataclasses.asdict(scores)
    table = [value or 0 for row in values.pop("reliability") for value in row.values()]
    return [*values.values(), *table]


@pytest.mark.parametrize("factor", [3.0, 1.0, 0.6])
@pytest.mark.parametrize("mode", MODES)
def test_logits_times_a_factor_need_it_as_temperature(mode, factor):
    task, logits, target = calibrated_batch(mode)
    scores = calibration_of(task, logits * factor, target, pixels_per_image=20_000).result()
    assert scores.temperature == pytest.approx(factor, rel=0.04)
    assert scores.ece_calibrated < 0.012
    assert scores.nll_calibrated <= scores.nll


@pytest.mark.parametrize("mode", MODES)
def test_overconfidence_shows_in_the_error_and_goes_with_the_temperature(mode):
    task, logits, target = calibrated_batch(mode)
    scores = calibration_of(task, logits * 3, target).result()
    assert scores.ece > 0.08
    assert scores.ece_calibrated < scores.ece / 5


@pytest.mark.parametrize("mode", MODES)
def test_dividing_by_the_temperature_gives_the_calibrated_scores(mode):
    task, logits, target = calibrated_batch(mode, size=40)
    scores = calibration_of(task, logits * 2.5, target).result()
    after = calibration_of(task, logits * 2.5 / scores.temperature, target).result()
    assert after.nll == pytest.approx(scores.nll_calibrated, rel=1e-3)
    assert after.ece == pytest.approx(scores.ece_calibrated, abs=5e-3)
    assert after.temperature == pytest.approx(1, abs=0.01)


def test_the_error_is_torchmetrics_for_several_classes():
    task, logits, target = calibrated_batch("multiclass", size=32)
    scores = calibration_of(task, logits * 2, target).result()
    theirs = multiclass_calibration_error(logits * 2, target, num_classes=4, n_bins=15, norm="l1")
    assert scores.ece == pytest.approx(float(theirs), abs=1e-6)


def test_the_error_of_a_binary_task_is_torchmetrics_for_two_classes():
    """Theirs for binary asks how often the foreground is true, ours (Guo et al.) how often the decision is right."""
    task, logits, target = calibrated_batch("binary", size=32)
    scores = calibration_of(task, logits * 2, target).result()
    probability = task.activation(logits * 2).squeeze(1)
    both = torch.stack([1 - probability, probability], 1)
    assert scores.ece == pytest.approx(float(multiclass_calibration_error(both, target, num_classes=2)), abs=1e-6)
    assert scores.ece != pytest.approx(float(binary_calibration_error(probability, target)), abs=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_is_that_of_torch(mode):
    task, logits, target = calibrated_batch(mode, size=24)
    nll = calibration_of(task, logits, target).result().nll
    if mode == "multiclass":
        expected = F.cross_entropy(logits, target)
    else:
        expected = F.binary_cross_entropy_with_logits(logits, target.view_as(logits).float())
    assert nll == pytest.approx(float(expected), abs=1e-5)


def test_the_table_holds_decisions_confidence_and_accuracy():
    logits = torch.tensor([[0.9, 0.9, 0.95, 0.3]]).logit().view(1, 1, 1, 4)
    table = calibration_of(Binary(), logits, torch.tensor([[[1, 0, 1, 0]]]), bins=4).result().reliability
    assert [row.decisions for row in table] == [0, 0, 1, 3]
    assert (table[0].confidence, table[0].accuracy) == (None, None)
    assert (table[2].confidence, table[2].accuracy) == (pytest.approx(0.7), 1)
    assert (table[3].confidence, table[3].accuracy) == (pytest.approx(2.75 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("mode", MODES)
def test_batches_and_ranks_add_up(mode):
    task, logits, target = calibrated_batch(mode, size=32, images=3)
    whole = calibration_of(task, logits, target, pixels_per_image=100)
    streamed = calibration_of(task, logits[:1], target[:1], pixels_per_image=100)
    streamed.update(logits[1:], target[1:])
    streamed.add_samples()
    assert torch.equal(streamed.table, whole.table)
    assert torch.equal(streamed.nll, whole.nll)
    assert as_numbers(streamed.result()) == as_numbers(whole.result())


@pytest.mark.parametrize("mode", MODES)
def test_images_of_any_size_are_sampled_together(mode):
    task, logits, target = calibrated_batch(mode, size=32, images=3)
    calibration = Calibration(task, pixels_per_image=600)
    calibration.update(logits, target)
    calibration.update(logits[..., :20, :30], target[..., :20, :30])  # of 600 pixels, all are taken
    calibration.update(logits[..., :5, :8], target[..., :5, :8])
    scores = calibration.result()
    decisions = int(calibration.table[1, :, 0].sum())
    assert decisions == 3 * (600 + 600 + 40) * (len(task.class_names) if task.classes_overlap else 1)
    assert scores.nll is not None


def test_what_was_gathered_in_inference_mode_is_read_outside_of_it():
    """On a GPU the sums are made in that mode too, and torch then lets nothing be added to them outside."""
    task, logits, target = calibrated_batch("binary", size=32)
    with torch.inference_mode():
        calibration = Calibration(task)
        calibration.update(logits, target)
    assert as_numbers(calibration.result()) == as_numbers(calibration_of(task, logits, target).result())


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_of_the_pixels_finds_about_the_same_temperature(mode):
    task, logits, target = calibrated_batch(mode)
    scores = calibration_of(task, logits * 2, target, pixels_per_image=4000)
    everything = calibration_of(task, logits * 2, target, pixels_per_image=160 * 160)
    assert scores.table[1, :, 0].sum() < everything.table[1, :, 0].sum()
    assert scores.result().ece == everything.result().ece
    assert scores.result().temperature == pytest.approx(everything.result().temperature, rel=0.08)


def test_the_seed_draws_the_sample():
    task, logits, target = calibrated_batch("binary", size=32)
    one, same, other = (calibration_of(task, logits, target, pixels_per_image=50, seed=s).nll for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("pixels", [50, 10_000])
@pytest.mark.parametrize("mode", MODES)
def test_ignored_pixels_do_not_count(mode, pixels):
    task, logits, target = calibrated_batch(mode, size=32)
    target[..., :9] = task.ignore_index
    changed = logits.clone()
    changed[..., :9] = torch.randn_like(changed[..., :9]) * 10
    one, other = (calibration_of(task, each, target, pixels_per_image=pixels) for each in (logits, changed))
    assert torch.equal(one.table, other.table)
    assert torch.equal(one.nll, other.nll)
    assert int(one.table[0, :, 0].sum()) == int((target != task.ignore_index).sum())


@pytest.mark.parametrize("mode", MODES)
def test_memory_order_label_type_and_blocks_do_not_matter(mode, monkeypatch):
    task, logits, target = calibrated_batch(mode, size=24)
    whole = calibration_of(task, logits, target, pixels_per_image=100)
    monkeypatch.setattr("segtrain.metrics.curves._CACHED", 1)
    mixed = logits.contiguous(memory_format=torch.channels_last), target.to(torch.uint8)
    again = calibration_of(task, *mixed, pixels_per_image=100)
    assert as_numbers(again.result()) == pytest.approx(as_numbers(whole.result()), abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_valid_has_no_scores(mode):
    task, logits, target = calibrated_batch(mode, size=8)
    scores = calibration_of(task, logits, torch.full_like(target, task.ignore_index)).result()
    assert set(as_numbers(scores)) == {None, 0}


@pytest.mark.parametrize("mode", MODES)
def test_without_a_mistake_the_temperature_falls_until_the_loss_is_gone(mode):
    task, logits, target = calibrated_batch(mode, size=8)
    right = task.one_hot(target, logits) * 6 - 3
    scores = calibration_of(task, right, target).result()
    assert 1 / 8 <= scores.temperature < 1
    assert scores.nll_calibrated == pytest.approx(0, abs=1e-6)
    assert calibration_of(task, right / 100, target).result().temperature == pytest.approx(1 / 8)


@pytest.mark.parametrize("mode", MODES)
def test_worse_than_chance_calls_for_the_highest_temperature(mode):
    task, logits, target = calibrated_batch(mode, size=8)
    scores = calibration_of(task, -20 * task.one_hot(target, logits) + 10, target).result()
    assert scores.temperature == pytest.approx(8)


@pytest.mark.parametrize("mode", MODES)
def test_logits_that_no_temperature_changes_keep_theirs(mode):
    task, logits, target = calibrated_batch(mode, size=8)
    assert calibration_of(task, torch.zeros_like(logits), target).result().temperature == 1


@pytest.mark.parametrize("best", [0.14, 6.7])
def test_a_temperature_next_to_the_end_of_the_grid_is_found(best):
    task, logits, target = calibrated_batch("binary")
    scores = calibration_of(task, logits * best, target, pixels_per_image=20_000).result()
    assert scores.temperature == pytest.approx(best, rel=0.06)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e4])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_logits_give_finite_scores(mode, value):
    task, logits, target = calibrated_batch(mode, size=8)
    logits[:, 0, :4] = value
    assert all(torch.tensor(as_numbers(calibration_of(task, logits, target).result())).isfinite())


@pytest.mark.parametrize("mode", MODES)
def test_the_interval_of_the_error_is_that_of_drawing_whole_images(mode):
    task, logits, target = calibrated_batch(mode, images=9, size=24)
    logits = logits * torch.linspace(0.5, 3, 9).view(-1, 1, 1, 1)  # some images sure, some not
    target[2] = task.ignore_index
    streamed = calibration_of(task, logits[:4], target[:4])
    streamed.update(logits[4:], target[4:])
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randint(9, (9,), generator=generator) for _ in range(60)]
    errors = torch.tensor([calibration_of(task, logits[draw], target[draw]).result().ece for draw in draws])
    expected = errors.double().quantile(torch.tensor([0.1, 0.9], dtype=torch.float64))
    assert streamed.interval(replicates=60, confidence=0.8) == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_error_of_nothing_valid_has_no_interval():
    task, logits, target = calibrated_batch("binary", size=8)
    calibration = calibration_of(task, logits, torch.full_like(target, task.ignore_index))
    assert calibration.interval(replicates=10, confidence=0.95) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_first(dtype):
    task, logits, target = calibrated_batch("multiclass", size=16)
    rounded = logits.to(dtype)
    one, other = (calibration_of(task, each, target) for each in (rounded, rounded.float()))
    assert torch.equal(one.table, other.table)


def test_the_grid_holds_temperature_one():
    assert 1 in TEMPERATURES
    assert (min(TEMPERATURES), max(TEMPERATURES)) == (1 / 8, 8)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_a_gpu_finds_the_same_and_is_not_waited_for(mode):
    task, logits, target = calibrated_batch(mode, size=32)
    calibration = Calibration(task, pixels_per_image=100)
    on_gpu = logits.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("error")
    calibration.update(*on_gpu)
    torch.cuda.set_sync_debug_mode("default")
    expected = calibration_of(task, logits, target, pixels_per_image=100).result()
    assert as_numbers(calibration.result()) == pytest.approx(as_numbers(expected), abs=1e-3)


@pytest.mark.parametrize("bins", [0, -1, 1.5])
def test_bins_that_are_no_number_of_bins_are_refused(bins):
    with pytest.raises(ValueError, match="expected a whole number of at least 1"):
        Calibration(Binary(), bins=bins)


def test_there_is_no_interval_before_the_first_image():
    assert Calibration(Binary()).interval(replicates=10, confidence=0.95) is None
