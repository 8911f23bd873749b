"""Parameter groups: who decays, who learns at the encoder's own rate, and in which order."""

import torch
from torch import nn

from segtrain.optim.parameter_groups import parameter_groups, parameter_names, set_learning_rate


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
