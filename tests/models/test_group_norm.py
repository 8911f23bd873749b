"""Group normalisation with a faster backward pass gives the same gradients."""

import copy

import pytest
import torch
from torch import nn

from segtrain.models.group_norm import QuickGroupNorm, quicken_group_norm
from segtrain.runtime.device import Runtime


def trained(norm, x, seed):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    norm.zero_grad()
    out = norm(x)
    out.backward(seed)
    return out, x.grad, norm.weight.grad.clone(), norm.bias.grad.clone()


@pytest.mark.parametrize(("groups", "channels"), [(4, 16), (16, 16), (1, 12)])
@pytest.mark.parametrize("size", [(9, 7), (4, 4)])
def test_gradients_are_those_in_double_precision_up_to_the_rounding_of_bf16(groups, channels, size):
    torch.manual_seed(0)
    norm = nn.GroupNorm(groups, channels)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.normal_(norm.bias)
    quick = copy.deepcopy(norm)
    assert quicken_group_norm(quick) == 1
    x = (3 * torch.randn(3, channels, *size) + 1).bfloat16().to(memory_format=torch.channels_last)
    seed = torch.randn_like(x)
    expected = trained(norm.double(), x.double(), seed.double())
    found = trained(quick, x, seed)
    for ours, exact in zip(found, expected, strict=True):
        assert (ours.double() - exact).norm() <= 0.01 * exact.norm()
    assert found[1].is_contiguous(memory_format=torch.channels_last)
    assert [ours.dtype for ours in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 8, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(2, 8, 5, 5).bfloat16(),
        torch.randn(2, 8, 5).bfloat16(),
        torch.randn(2, 8, 1, 1).bfloat16().to(memory_format=torch.channels_last),
    ],
    ids=["fp32", "contiguous", "three dimensions", "one pixel"],
)
def test_elsewhere_it_is_torchs_own(x):
    norm = nn.GroupNorm(2, 8)
    quick = copy.deepcopy(norm)
    quicken_group_norm(quick)
    seed = torch.randn_like(x)
    for ours, theirs in zip(trained(quick, x, seed), trained(norm, x, seed), strict=True):
        assert torch.equal(ours, theirs)


def test_only_training_in_bf16_on_a_cpu_has_it():
    for precision, expected in (("bf16", QuickGroupNorm), ("fp32", nn.GroupNorm)):
        model = nn.Sequential(nn.GroupNorm(2, 8))
        Runtime(torch.device("cpu"), precision).place(model)
        assert type(model[0]) is expected
