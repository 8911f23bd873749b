"""The wrapper of a model on several ranks, here of one: whole jobs are run by tests/commands/test_launch.py."""

import pytest
import torch
from torch import nn

from segtrain.runtime.world import ALONE
from segtrain.training.parallel import Parallel, in_parallel, synchronize_batchnorm


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_what_starts_to_learn_is_exchanged_from_then_on(group):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    wrapped = Parallel(model, device=torch.device("cpu"), has_unused=False)
    assert wrapped.renewed() is wrapped
    model[0].requires_grad_(True)
    renewed = wrapped.renewed()
    assert renewed is not wrapped
    assert renewed.module is model
    renewed(torch.ones(1, 2)).sum().backward()
    assert model[0].weight.grad is not None


def test_alone_a_model_runs_itself():
    model = nn.Linear(2, 2)
    assert in_parallel(model, torch.device("cpu"), ALONE, has_unused=True) is model


def test_batch_normalisation_over_all_ranks_keeps_names_and_values():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.Conv2d(4, 2, 1))
    model[0][1].running_mean.fill_(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    synchronize_batchnorm(model)
    assert isinstance(model[0][1], nn.SyncBatchNorm)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
