"""Optimizers of a config: over the groups of a model, any that torch has."""

import pytest
import torch

from segtrain.build.optimizer import build_optimizer
from segtrain.build.parts import build_model, checked_config
from segtrain.config.compose import compose
from segtrain.errors import ConfigError
from segtrain.optim.parameter_groups import parameter_names
from segtrain.runtime.device import Runtime
from segtrain.task import Binary

CPU = Runtime(torch.device("cpu"), "fp32")
TINY = ("encoder=test_resnet", "encoder.depth=2", "arch.channels=[8,8]")
PLAIN = ("encoder=test_vit", "arch=segformer", "arch.channels=8")


def built(*words):
    config = checked_config(compose("train", words).job)
    model = build_model(config, Binary(), channels=3, pretrained=False)
    return model, build_optimizer(config.optimizer, model, CPU)


def rates(*words):
    model, optimizer = built(*words)
    return {name: group["lr"] for group in optimizer.param_groups for name in parameter_names(model, [group])}


def test_layer_decay_of_a_config_reaches_the_encoder_alone():
    found = rates(*TINY, "optimizer.lr=1", "optimizer.layer_decay=0.5", "optimizer.encoder_lr_factor=0.1")
    first, last = found["encoder.model.conv1.0.weight"], found["segmentation_head.0.weight"]
    assert (first, last) == (pytest.approx(0.1 * 0.25), 1)


def test_groups_of_a_config_are_patterns_with_dots_and_stars():
    found = rates(*TINY, "optimizer.lr=1", "optimizer.groups={'decoder.*': {lr_factor: 2.0}}")
    assert {rate for name, rate in found.items() if name.startswith("decoder.")} == {2}
    assert {rate for name, rate in found.items() if not name.startswith("decoder.")} == {1}


def test_an_option_of_a_group_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"optimizer\.groups: expected one of lr_factor, weight_decay .*, did you mean 'lr_factor'\?"
    ):
        compose("train", ["optimizer.groups={decoder:{lr_fator:2.0}}"])


@pytest.mark.parametrize("name", ["NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "ASGD", "Adafactor"])
def test_any_optimizer_of_torch_is_a_target(name):
    word = f"optimizer._target_=torch.optim.{name}"
    model, optimizer = built(*TINY, "optimizer=sgd", "~optimizer.momentum", "~optimizer.nesterov", word)
    before = [parameter.clone() for parameter in model.parameters()]
    model(torch.rand(2, 3, 32, 32)).square().mean().backward()
    optimizer.step()
    assert type(optimizer).__name__ == name
    assert any(not torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


def test_a_weight_decay_that_the_optimizer_does_not_know_is_refused():
    words = [*TINY, "optimizer=sgd", "~optimizer.momentum", "~optimizer.nesterov"]
    target = "optimizer._target_=torch.optim.Rprop"
    with pytest.raises(ConfigError, match=r"^optimizer\.weight_decay=0\.0005: torch\.optim\.Rprop has none; set"):
        built(*words, target)
    assert isinstance(built(*words, target, "optimizer.weight_decay=0")[1], torch.optim.Rprop)
