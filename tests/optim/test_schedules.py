"""Schedules are pure functions of the step."""

import math

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.optim.schedules import Constant, Cosine, MultiStep, OneCycle, Poly


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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [  # of steps 0, 4, 5 and 9 of 10
        (Poly(power=2.0), [1.0, 0.36, 0.25, 0.01]),
        (Poly(power=1.0, final=0.5), [1.0, 0.8, 0.75, 0.55]),
        (Cosine(warmup=0), [1.0, (1 + math.cos(0.4 * math.pi)) / 2, 0.5, (1 + math.cos(0.9 * math.pi)) / 2]),
        (Constant(warmup=5), [1 / 6, 5 / 6, 1.0, 1.0]),
        (MultiStep(milestones=[0.5, 9]), [1.0, 1.0, 0.1, 0.01]),
        (MultiStep(warmup=1, milestones=[4], gamma=0.5), [0.5, 0.5, 0.5, 0.5]),
        # up in steps 0..2, down in 2..9
        (OneCycle(rise=0.3, start=0.5, final=0.0), [0.5, *((1 + math.cos(n / 7 * math.pi)) / 2 for n in (2, 3, 7))]),
    ],
)
def test_values_in_closed_form(schedule, expected):
    assert [schedule(step, 10) for step in (0, 4, 5, 9)] == pytest.approx(expected)


@pytest.mark.parametrize(("rise", "steps"), [(0.3, 10), (0.25, 17), (0.05, 100)])
def test_one_cycle_is_that_of_torch_step_by_step(rise, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=rise, cycle_momentum=False
    )
    found = OneCycle(rise=rise)
    for step in range(steps):
        assert found(step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        if step + 1 < steps:
            torchs.step()


def test_multi_step_falls_as_torchs_multi_step_does():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], gamma=0.1)
    for step in range(10):
        assert MultiStep(milestones=[3, 7])(step, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()


def test_a_run_shorter_than_a_cycle_stays_between_its_ends():
    for total in range(1, 5):
        assert all(4e-6 <= OneCycle()(step, total) <= 1 for step in range(total))


def test_a_milestone_of_a_part_of_a_step_is_refused():
    with pytest.raises(
        ConfigError, match=r"scheduler\.milestones: 2\.7 is neither .*; set scheduler\.milestones=\[0\.5,3\]"
    ):
        MultiStep(milestones=[0.5, 2.7])
