"""Schedules are pure functions of the step."""

import pytest

from segtrain.errors import ConfigError
from segtrain.optim.schedules import Constant, Cosine, Poly


@pytest.mark.parametrize("schedule", [Constant(warmup=0.1), Cosine(warmup=0.1), Poly(warmup=0.1)])
def test_warm_up_rises_to_the_full_rate_and_nothing_exceeds_it(schedule):
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[:10] == sorted(factors[:10])
    assert 0 < factors[0] < 0.2
    assert max(factors) == factors[10] == 1


@pytest.mark.parametrize("schedule", [Cosine(warmup=0, final=0.1), Poly(warmup=0, final=0.1)])
def test_decay_falls_to_its_final_fraction(schedule):
    factors = [schedule(step, 100) for step in range(101)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(0.1)


def test_cosine_is_half_way_in_the_middle():
    assert Cosine(warmup=0)(50, 100) == pytest.approx(0.5)


def test_warm_up_from_one_on_counts_steps():
    assert [Constant(warmup=3)(step, 1000) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_warm_up_of_a_part_of_a_step_is_refused():
    assert Constant(warmup=2.0).warmup_steps(100) == 2
    with pytest.raises(ConfigError, match=r"scheduler\.warmup: 2\.7 is neither .*; set scheduler\.warmup=3"):
        Constant(warmup=2.7)
