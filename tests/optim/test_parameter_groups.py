"""Parameter groups: who decays, who learns at the encoder's own rate, and in which order."""

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.optim.parameter_groups import group_table, parameter_groups, parameter_names, set_learning_rate


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


class WithPositions(nn.Module):
    """A transformer's parameters of every kind, and a head."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"attn": nn.Linear(4, 4), "norm": nn.LayerNorm(4)})
        self.encoder.pos_embed = nn.Parameter(torch.zeros(1, 9, 4))
        self.encoder.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.encoder.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.encoder.gamma = nn.Parameter(torch.ones(4, 1, 1))
        self.decoder = nn.Conv2d(4, 4, 3)
        self.segmentation_head = nn.Conv2d(4, 1, 1)  # its weight is (1, 4, 1, 1), and no scale
        self.classification_head = nn.Linear(4, 2)


def names_by(model, key, **options):
    groups = parameter_groups(model, **{"lr": 1.0, "weight_decay": 0.5, "encoder_lr_factor": 1.0, **options})
    found = {}
    for group in groups:
        found.setdefault(group[key], set()).update(parameter_names(model, [group]))
    return found


def test_position_embeddings_class_tokens_and_scales_do_not_decay_unless_asked_to():
    weights = {"encoder.attn.weight", "decoder.weight", "segmentation_head.weight", "classification_head.weight"}
    others = {f"encoder.{name}" for name in ("pos_embed", "cls_token", "relative_position_bias_table", "gamma")}
    assert names_by(WithPositions(), "weight_decay")[0.5] == weights
    assert names_by(WithPositions(), "weight_decay", decay_positions=True)[0.5] == weights | others


def test_the_rate_decays_with_each_layer_of_the_encoder_towards_the_image():
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), "decoder": nn.Linear(1, 1)})
    layers = {"0.weight": 2, "0.bias": 2, "1.weight": 1, "1.bias": 1}
    found = names_by(model, "base_lr", encoder_lr_factor=0.5, layer_decay=0.8, layers=layers)
    assert {round(rate, 9): len(names) for rate, names in found.items()} == {0.5 * 0.64: 2, 0.5 * 0.8: 2, 1.0: 2}


def test_groups_by_pattern_change_rate_and_decay_and_the_last_that_matches_counts():
    patterns = {"encoder": {"lr_factor": 3.0}, "encoder.a*": {"lr_factor": 2.0}, "*_head.*": {"weight_decay": 0.1}}
    by_rate = names_by(WithPositions(), "base_lr", encoder_lr_factor=0.1, groups=patterns)
    assert by_rate[0.1 * 2.0] == {"encoder.attn.weight", "encoder.attn.bias"}
    assert "encoder.pos_embed" in by_rate[0.1 * 3.0]
    heads = {f"{head}.{name}" for head in ("segmentation_head", "classification_head") for name in ("weight", "bias")}
    assert names_by(WithPositions(), "weight_decay", groups=patterns)[0.1] == heads


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name():
    patterns = {"decodr.*": {"lr_factor": 2.0}, "backbone": {"lr_factor": 2.0}}
    with pytest.raises(ConfigError) as error:
        names_by(WithPositions(), "base_lr", groups=patterns)
    first, second = str(error.value).splitlines()
    assert first == (
        "optimizer.groups: no parameter is called 'decodr.*', expected part of the model, did you mean 'decoder'?"
    )
    assert second.endswith("names begin with classification_head, decoder, encoder, segmentation_head")


def test_matrices_apart_are_weights_of_two_axes_between_input_and_output():
    assert names_by(WithPositions(), "is_matrix", matrices_apart=True)[True] == {"encoder.attn.weight"}


def test_groups_of_several_rates_are_shown_in_a_table():
    model = nn.ModuleDict({"encoder": nn.Conv2d(3, 4, 1), "decoder": nn.Conv2d(4, 1, 1)})
    options = {"lr": 1.0, "weight_decay": 0.5}
    assert group_table(model, parameter_groups(model, **options, encoder_lr_factor=1.0)) == []
    lines = group_table(model, parameter_groups(model, **options, encoder_lr_factor=0.1))
    assert [line.split() for line in lines[1:]] == [
        ["0.1", "0", "4", "1", "encoder.bias"],
        ["0.1", "0.5", "12", "1", "encoder.weight"],
        ["1", "0", "1", "1", "decoder.bias"],
        ["1", "0.5", "4", "1", "decoder.weight"],
    ]
