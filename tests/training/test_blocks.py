"""The parts of a model that FSDP gathers one after another."""

import pytest
import torch
from torch import nn

from segtrain.models import create_model
from segtrain.training.blocks import blocks, weights_of


@pytest.mark.parametrize(
    ("arch", "encoder", "largest"),
    [("unet", "resnet50", 0.22), ("segformer", "mit_b5", 0.1), ("upernet", "regnety_032", 0.2)],
)
def test_blocks_are_disjoint_and_together_nearly_all_of_a_model(arch, encoder, largest):
    with torch.device("meta"):
        model = create_model(arch, encoder, num_classes=3)
        found = blocks(model, torch.empty(1, 3, 64, 64))
    owned = [parameter for block in found for parameter in block.parameters()]
    assert len(owned) == len(set(owned))
    assert sum(map(weights_of, found)) > 0.98 * weights_of(model)
    assert max(map(weights_of, found)) <= largest * weights_of(model)  # a tenth, or one large convolution


class Reading(nn.Module):
    """Reads the weights of a module that it never runs, as attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.run, self.listed = nn.Linear(8, 8), nn.Linear(8, 8), nn.ModuleList([nn.Linear(8, 8)])

    def forward(self, x):
        return self.run(nn.functional.linear(x, self.read.weight, self.read.bias)) + self.listed[0](x)


def test_what_does_not_run_by_itself_is_no_block():
    model = Reading().train()
    assert blocks(model, torch.ones(1, 8)) == [model.run, model.listed[0]]
    assert model.training
    assert not model.run._forward_hooks
