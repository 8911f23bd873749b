"""Schedule-free AdamW: its average is that of the package, and nothing is rounded by asking for it."""

import sys

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.optim import Constant, Cosine, ModelEma, parameter_groups
from segtrain.optim.schedule_free import ScheduleFreeAverage, averaged, refuse_with_schedule_free, schedule_free_adamw

pytest.importorskip("schedulefree")


def model_and_optimizer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model[0].bias.requires_grad_(False)
    groups = parameter_groups(model, lr=0.05, weight_decay=0.1, encoder_lr_factor=1.0)
    return model, schedule_free_adamw(groups, lr=0.05, weight_decay=0.1)


def steps(model, optimizer, count):
    for number in range(count):
        torch.manual_seed(number)
        optimizer.zero_grad()
        model(torch.rand(8, 3)).square().mean().backward()
        optimizer.step()


def test_the_average_is_that_of_the_package_in_its_evaluation_mode():
    model, optimizer = model_and_optimizer()
    average = averaged(model, optimizer, ema_decay=None)
    steps(model, optimizer, 4)
    found = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    moving = [tensor.clone() for tensor in model.parameters()]
    optimizer.eval()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    assert any(not torch.equal(one, two) for one, two in zip(moving, model.parameters(), strict=True))


def test_asking_for_the_average_changes_neither_model_nor_optimizer():
    (model, optimizer), (other, left_alone) = model_and_optimizer(), model_and_optimizer()
    average = ScheduleFreeAverage(model, optimizer)
    for number in range(3):
        steps(model, optimizer, number + 1)
        steps(other, left_alone, number + 1)
        assert not average.module.training
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_before_the_first_step_the_average_is_the_model():
    model, optimizer = model_and_optimizer()
    state = averaged(model, optimizer, ema_decay=None).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_other_optimizers_have_an_ema_or_no_average():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert averaged(model, optimizer, ema_decay=None) is None
    assert isinstance(averaged(model, optimizer, ema_decay=0.9), ModelEma)
    refuse_with_schedule_free(optimizer, Cosine(), ema_decay=0.9)


def test_a_falling_rate_or_an_ema_beside_it_is_refused():
    _, optimizer = model_and_optimizer()
    with pytest.raises(ConfigError, match=r"^scheduler: Cosine lets the learning rate fall.*add scheduler=constant"):
        refuse_with_schedule_free(optimizer, Cosine(), ema_decay=None)
    with pytest.raises(ConfigError, match=r"^trainer\.ema_decay: .*; set trainer\.ema_decay=null$"):
        refuse_with_schedule_free(optimizer, Constant(), ema_decay=0.9)
    refuse_with_schedule_free(optimizer, Constant(warmup=0.1), ema_decay=None)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(ConfigError, match=r"pip install 'segtrain\[schedulefree\]'$"):
        schedule_free_adamw([], lr=0.1)
