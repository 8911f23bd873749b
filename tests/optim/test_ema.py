"""The moving average of a model's weights."""

import pytest
import torch
from torch import nn

from segtrain.optim.ema import ModelEma


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


def test_the_average_is_a_model_of_its_own_in_evaluation_mode_that_does_not_learn():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    ema = ModelEma(model, decay=0.9)
    assert not any(module.training for module in ema.module.modules())
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_restored_average_goes_on_where_it_stood():
    model = nn.Linear(1, 1, bias=False)
    first, second = ModelEma(model, decay=0.5), ModelEma(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(8.0)
    first.update(1000)
    second.load_state_dict(first.state_dict())
    for ema in (first, second):
        ema.update(1001)
    assert torch.equal(second.module.weight, first.module.weight)
