"""What is refused before a model is shared out; the optimizers are in tests/commands/test_fsdp.py."""

import pytest
import torch
from torch import nn

from segtrain.build.distribution import refuse_undivided
from segtrain.errors import ConfigError


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.ones(2)), nn.Parameter(torch.tensor(1.0))


def test_a_weight_that_is_a_single_number_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"^trainer.strategy=fsdp: 1.gain \(of 1 such\) is a single number"):
        refuse_undivided(nn.Sequential(nn.Linear(1, 1), Scaled()))
    refuse_undivided(nn.Linear(1, 1))
