"""Schedules are pure functions of the step; groups decide who decays."""

import pytest
import torch
from torch import nn

from segtrain.optim.ema import ModelEma
from segtrain.optim.parameter_groups import parameter_groups, parameter_names, set_learning_rate
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


def test_norm_and_bias_do_not_decay_and_the_encoder_has_its_own_rate():
    model = nn.ModuleDict(
        {"encoder": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "decoder": nn.Conv2d(4, 1, 1)}
    )
    groups = parameter_groups(model, lr=1.0, weight_decay=0.5, encoder_lr_factor=0.1)
    found = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert found == {(0.1, 0.5): 1, (0.1, 0.0): 3, (1.0, 0.5): 1, (1.0, 0.0): 1}


def test_frozen_parameters_have_a_place_and_stand_still_until_they_thaw():
    model = nn.Conv2d(3, 4, 1).requires_grad_(False)
    before = model.weight.clone()
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1.0, weight_decay=0.5, encoder_lr_factor=1.0))
    optimizer.step()
    assert torch.equal(model.weight, before)
    model.requires_grad_(True)(torch.ones(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)


def test_the_parameters_of_an_optimizer_have_names_in_its_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    groups = parameter_groups(model, lr=1.0, weight_decay=0.5, encoder_lr_factor=1.0)
    assert parameter_names(model, groups) == ["0.weight", "1.weight", "0.bias", "1.bias"]


def test_a_schedule_multiplies_every_groups_own_rate():
    model = nn.ModuleDict({"encoder": nn.Conv2d(3, 4, 1), "decoder": nn.Conv2d(4, 1, 1)})
    groups = parameter_groups(model, lr=1.0, weight_decay=0.0, encoder_lr_factor=0.1)
    optimizer = torch.optim.SGD(groups, lr=1.0)
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.5}


def test_the_average_follows_its_formula_buffers_included():
    model = nn.BatchNorm1d(2)
    ema = ModelEma(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(2.0)
        model.num_batches_tracked.fill_(7)
    ema.update(1000)
    assert ema.module.weight.tolist() == [2.0, 2.0]
    assert ema.module.running_mean.tolist() == [1.0, 1.0]
    assert ema.module.num_batches_tracked.item() == 7


def test_the_first_updates_forget_the_random_start():
    model = nn.Linear(1, 1)
    ema = ModelEma(model, decay=0.999)
    with torch.no_grad():
        model.weight.fill_(1.0)
    before = ema.module.weight.item()
    ema.update(0)
    assert ema.module.weight.item() == pytest.approx(before * 0.1 + 0.9)
