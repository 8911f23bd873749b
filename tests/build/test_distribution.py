"""What is refused before a model is shared out; the optimizers are in tests/commands/test_fsdp.py."""

import pytest
import torch
from torch import nn

from segtrain.build.distribution import refuse_sharing_on, refuse_undivided
from segtrain.errors import ConfigError


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.ones(2)), nn.Parameter(torch.tensor(1.0))


def test_a_weight_that_is_a_single_number_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"^trainer.strategy=fsdp: 1.gain \(of 1 such\) is a single number"):
        refuse_undivided(nn.Sequential(nn.Linear(1, 1), Scaled()))
    refuse_undivided(nn.Linear(1, 1))


def test_a_torch_that_does_not_share_out_on_a_cpu_is_named(monkeypatch):
    monkeypatch.delattr(torch.cpu.Stream, "record_event", raising=False)
    with pytest.raises(ConfigError, match=r"^trainer.strategy=fsdp: torch 2.* on GPUs only; set trainer.strategy=ddp"):
        refuse_sharing_on(torch.device("cpu"))
    refuse_sharing_on(torch.device("cuda"))
