"""Squeeze-and-excitation blocks give the same gradients, from one pass over the map less."""

import copy

import pytest
import torch
from timm.layers.squeeze_excite import SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from segtrain.models import create_model
from segtrain.models.squeeze_excitation import share_means
from segtrain.runtime.device import Runtime

BLOCKS = {
    "efficientnet": lambda: SqueezeExcite(12, rd_channels=3, act_layer=nn.SiLU),
    "regnet": lambda: SEModule(12, rd_channels=3),
    "with normalisation": lambda: SEModule(12, rd_channels=3, norm_layer=nn.BatchNorm2d),
}


def step(block, x, precision):
    x = x.clone(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        found = block(x * 1.0)
    found.float().square().sum().backward()
    return [found, x.grad, *(parameter.grad for parameter in block.parameters())]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_values_and_gradients_are_equal_bit_by_bit(block, precision):
    torch.manual_seed(0)
    plain = BLOCKS[block]()
    shared = copy.deepcopy(plain)
    assert share_means(shared) == 1
    x = torch.randn(2, 12, 9, 7)
    for ours, theirs in zip(step(shared, x, precision), step(plain, x, precision), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


def test_a_block_that_takes_the_maximum_too_is_left_alone():
    assert share_means(SEModule(12, rd_channels=3, add_maxpool=True)) == 0


def test_a_model_on_a_cpu_gets_them_and_keeps_its_weights_and_results():
    model = create_model("fpn", "mobilenetv3_small_050").eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)
    keys = list(model.state_dict())
    Runtime(torch.device("cpu"), "fp32", channels_last=False).place(model)
    assert sum(type(module).__name__ == "SharedSqueezeExcite" for module in model.modules()) == 9
    assert list(model.state_dict()) == keys
    with torch.no_grad():
        assert torch.equal(model(image), before)
