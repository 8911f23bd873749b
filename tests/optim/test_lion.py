"""Lion: its update by hand, and what it refuses."""

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.optim.lion import Lion


def one_weight(value):
    return nn.Parameter(torch.tensor([value]))


def step(optimizer, weight, gradient):
    weight.grad = torch.tensor([gradient])
    optimizer.step()


def test_two_steps_by_hand():
    weight = one_weight(1.0)
    optimizer = Lion([weight], lr=0.1, weight_decay=0.5, betas=(0.9, 0.99))
    step(optimizer, weight, 2.0)  # 1 - 0.1 * (sign(0.1 * 2) + 0.5 * 1); the average is 0.01 * 2
    assert weight.item() == pytest.approx(0.85)
    assert optimizer.state[weight]["exp_avg"].item() == pytest.approx(0.02)
    step(optimizer, weight, -0.1)  # sign(0.9 * 0.02 - 0.1 * 0.1) = sign(0.008): against its gradient
    assert weight.item() == pytest.approx(0.85 - 0.1 * (1 + 0.5 * 0.85))
    assert optimizer.state[weight]["exp_avg"].item() == pytest.approx(0.99 * 0.02 - 0.01 * 0.1)


def test_every_weight_moves_as_far_whatever_its_gradient():
    weight = nn.Parameter(torch.zeros(3))
    optimizer = Lion([weight], lr=0.1)
    weight.grad = torch.tensor([1e-6, -1e6, 0.0])
    optimizer.step()
    assert weight.tolist() == pytest.approx([-0.1, 0.1, 0.0])


def test_a_weight_without_a_gradient_stands_still_and_is_not_remembered():
    moved, still = one_weight(1.0), one_weight(1.0)
    optimizer = Lion([moved, still], lr=0.1, weight_decay=0.5)
    step(optimizer, moved, 1.0)
    assert still.item() == 1.0
    assert set(optimizer.state) == {moved}


def test_betas_out_of_range_are_refused():
    with pytest.raises(
        ConfigError, match=r"^optimizer\.betas: expected two numbers from 0 to below 1, got \[0\.9, 1\]"
    ):
        Lion([one_weight(0.0)], lr=0.1, betas=(0.9, 1))
