"""Tensors that are shared out, here by a job of one rank: several are in tests/commands/test_fsdp.py."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from segtrain.runtime.shards import like, memory_like, own_shard, state_like, whole


@pytest.fixture
def shared_out(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield distribute_tensor(torch.arange(6.0).view(3, 2), init_device_mesh("cpu", (1,)), [Shard(0)])
    torch.distributed.destroy_process_group()


def test_whole_gathers_what_is_shared_out_and_leaves_the_rest(shared_out):
    plain = torch.ones(2)
    found = whole({"a": [shared_out, plain], "b": {"c": 1}})
    assert type(found["a"][0]) is torch.Tensor
    assert found["a"][0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found["a"][1] is plain
    assert found["b"] == {"c": 1}
    assert whole([shared_out, plain], keep=False) == [None, plain]


def test_the_own_shard_is_the_memory_of_the_tensor(shared_out):
    own_shard(shared_out).zero_()
    assert not whole(shared_out).any()
    plain = torch.ones(2)
    assert own_shard(plain) is plain


def test_a_state_is_shared_out_as_the_own_one_is(shared_out):
    state = {"weight": torch.full((3, 2), 7.0), "buffer": torch.ones(2)}
    found = state_like(state, {"weight": shared_out, "buffer": torch.zeros(2)})
    assert isinstance(found["weight"], DTensor)
    assert torch.equal(whole(found["weight"]), state["weight"])
    assert found["buffer"] is state["buffer"]
    assert torch.equal(whole(like(shared_out, shared_out)), whole(shared_out))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_fused_optimizer_goes_on_in_another_layout_as_in_the_one_that_it_was_saved_in(layout):
    def optimized(memory_format):
        weight = nn.Parameter(torch.linspace(-1, 1, 72).view(2, 4, 3, 3).to(memory_format=memory_format))
        return weight, torch.optim.AdamW([weight], lr=0.1, fused=True)

    def step(weight, optimizer):
        weight.grad = torch.linspace(1, -2, 72).view(2, 4, 3, 3).to(memory_format=torch.channels_last).sin()
        weight.grad = torch.empty_like(weight).copy_(weight.grad)
        optimizer.step()

    (weight, optimizer), (other, resumed) = optimized(torch.contiguous_format), optimized(layout)
    step(weight, optimizer)
    resumed.load_state_dict(memory_like(deepcopy(optimizer.state_dict()), resumed))
    with torch.no_grad():
        other.copy_(weight)
    step(weight, optimizer)
    step(other, resumed)
    torch.testing.assert_close(other, weight)
