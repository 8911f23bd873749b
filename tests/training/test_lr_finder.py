"""The range test: the rates it tries, the average of its losses, where it falls fastest, and where it ends."""

import math

import pytest

from segtrain.errors import ConfigError
from segtrain.training.lr_finder import RangeTest, range_test
from tests.training.test_trainer import batch, make_trainer


def made_of(losses, smoothing=0.0):
    found = RangeTest()
    for number, loss in enumerate(losses):
        found.add(10.0 ** (number - 8), loss, smoothing=smoothing)
    return found


def test_the_average_is_corrected_for_its_start():
    found = made_of([4.0, 1.0, 1.0], smoothing=0.5)
    # (0.5 * 4) / 0.5, (0.25 * 4 + 0.5 * 1) / 0.75, (0.125 * 4 + 0.25 + 0.5) / 0.875
    assert found.smoothed == pytest.approx([4.0, 2.0, 1.25 / 0.875])


def test_the_rate_is_that_of_the_steepest_descent():
    found = made_of([8.0, 8.0, 7.9, 7.5, 5.5, 3.0, 2.0, 2.0, 2.1, 5.0])
    assert found.steepest() == pytest.approx(1e-4)


def test_a_loss_that_never_falls_and_one_that_ends_at_once_are_refused():
    with pytest.raises(ConfigError, match=r"^lr_find: the loss never falls from 1e-08 to 1000; raise highest"):
        made_of([float(number) for number in range(12)]).steepest()
    with pytest.raises(ConfigError, match=r"^lr_find: 2 steps before the loss was not finite"):
        made_of([2.0, 1.0, math.nan]).steepest()


def test_it_diverged_where_the_loss_is_four_times_the_lowest_or_not_finite():
    assert not made_of([1.0, 9.0]).has_diverged  # too early to tell
    assert made_of([1.0] * 11 + [4.1]).has_diverged
    assert not made_of([1.0] * 11 + [3.9]).has_diverged
    assert made_of([1.0, math.inf]).has_diverged


def test_rates_grow_exponentially_from_the_lowest_to_the_highest_over_as_many_epochs_as_it_takes(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=1), batch(seed=2)])
    found = range_test(trainer, lr=0.1, lowest=1e-5, highest=1e-3, steps=5, smoothing=0.9)
    assert found.rates == pytest.approx([1e-5, 10**-4.5, 1e-4, 10**-3.5, 1e-3])
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert len(found.losses) == 5


def test_it_ends_where_the_loss_diverges(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=1)])
    found = range_test(trainer, lr=0.1, lowest=1.0, highest=1e9, steps=60, smoothing=0.0)
    assert found.has_diverged
    assert len(found.rates) < 60
