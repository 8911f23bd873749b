"""Muon for matrices and AdamW for the rest, as one optimizer."""

import copy

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.optim.muon import Muon
from segtrain.optim.parameter_groups import parameter_groups, set_learning_rate

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


def model_and_optimizer(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    groups = parameter_groups(model, lr=0.01, weight_decay=0.1, encoder_lr_factor=1.0, matrices_apart=True)
    return model, Muon(groups, lr=0.01, weight_decay=0.1)


def steps(model, optimizer, count, factor=1.0):
    for number in range(count):
        set_learning_rate(optimizer, factor)
        optimizer.zero_grad()
        torch.manual_seed(number)
        model(torch.rand(8, 6)).square().mean().backward()
        optimizer.step()


@needs_muon
def test_matrices_move_as_by_torchs_muon_and_the_rest_as_by_its_adamw():
    model, optimizer = model_and_optimizer()
    alone = copy.deepcopy(model)
    matrices = [one for one in alone.parameters() if one.ndim == 2]
    rest = [one for one in alone.parameters() if one.ndim == 1]
    muon = torch.optim.Muon(matrices, lr=0.005, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.005, weight_decay=0.0, betas=(0.9, 0.95))
    steps(model, optimizer, 3, factor=0.5)
    for number in range(3):
        alone.zero_grad()
        torch.manual_seed(number)
        alone(torch.rand(8, 6)).square().mean().backward()
        muon.step()
        adamw.step()
    assert len(matrices) == 2
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), alone.parameters(), strict=True))


@needs_muon
def test_a_restored_one_goes_on_where_it_stood():
    model, optimizer = model_and_optimizer()
    steps(model, optimizer, 2)
    other, restored = model_and_optimizer(seed=1)
    other.load_state_dict(model.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((model, optimizer), (other, restored)):
        steps(*pair, 2, factor=0.5)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


@needs_muon
def test_a_model_of_convolutions_alone_is_refused():
    groups = parameter_groups(nn.Conv2d(3, 4, 3), lr=0.1, weight_decay=0.0, encoder_lr_factor=1.0, matrices_apart=True)
    with pytest.raises(ConfigError, match=r"^optimizer=muon: the model has no linear layers.*set optimizer=adamw$"):
        Muon(groups, lr=0.1)


def test_a_torch_without_muon_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ConfigError, match=rf"^optimizer=muon: torch {torch.__version__.split('+')[0]}.* 2\.9 or newer"):
        Muon([nn.Parameter(torch.zeros(1))], lr=0.1)
