"""A device whose numbers are the CPU's is taken; others are told of, or refused, with numbers."""

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.runtime.device_check import answers, check_device

CPU, OTHER = torch.device("cpu"), torch.device("cpu", 0)  # the CPU again, by another name


def spoilt(name, factor):
    """The network on the CPU, and elsewhere the same but for one answer."""

    def run(device):
        found = answers(CPU)
        return found if device == CPU else {**found, name: found[name] * factor}

    return run


def test_the_same_numbers_are_said_to_agree(caplog):
    caplog.set_level("INFO")
    before = torch.get_rng_state()
    check_device(OTHER)
    assert caplog.messages == ["device=cpu:0: a small network agrees with the CPU's to 0 (the loss)"]
    assert torch.equal(torch.get_rng_state(), before), "random numbers of the run were taken"


def test_every_weight_has_a_gradient_that_is_not_zero():
    found = answers(CPU)
    assert len(found) == 1 + 13
    assert all(value.norm() > 1e-6 for value in found.values())


def test_a_notable_difference_is_told_with_its_number(caplog):
    check_device(OTHER, spoilt("the gradient of stem.weight", 1.01))
    (line,) = caplog.messages
    assert "the gradient of stem.weight of a small network differs by 0.01 of its norm" in line


@pytest.mark.parametrize("factor", [2.0, float("nan")])
def test_a_gross_one_is_refused(factor):
    with pytest.raises(ConfigError, match=r"the gradient of up.weight .* differs by (1|inf) .*; update torch"):
        check_device(OTHER, spoilt("the gradient of up.weight", factor))


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(caplog):
    caplog.set_level("INFO")
    check_device(torch.device("cuda"))
    assert "agrees" in caplog.text or "differs by" in caplog.text
