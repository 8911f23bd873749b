"""Batch statistics estimated anew: as torch does it, without dropout, and not of what is frozen."""

import copy

import torch
from torch import nn

from segtrain.inference.batch_statistics import reestimate
from segtrain.inference.network import Network
from segtrain.models import Normalize
from segtrain.runtime.device import Runtime


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.BatchNorm2d(4))

    def forward(self, image):
        return self.layers(image)


def images(count=3):
    torch.manual_seed(1)
    return [torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8) for _ in range(count)]


def network():
    torch.manual_seed(0)
    return Network(Tiny(), Runtime(torch.device("cpu"), "fp32"))


def test_the_statistics_are_those_of_torchs_update_bn():
    ours = network()
    theirs = copy.deepcopy(ours.model)
    theirs.layers[2].p = 0.0
    torch.optim.swa_utils.update_bn([theirs.normalize(batch) for batch in images()], theirs)
    assert reestimate(ours, [{"image": batch} for batch in images()]) == 2
    for name, buffer in theirs.named_buffers():
        assert torch.allclose(buffer, dict(ours.model.named_buffers())[name], atol=1e-6), name
    assert ours.model.layers[1].running_mean.abs().sum() > 0
    assert ours.model.layers[1].momentum == 0.1
    assert not any(module.training for module in ours.model.modules())


def test_a_model_without_batch_normalisation_reads_no_batch():
    found = network()
    found.model.layers = nn.Sequential(nn.Conv2d(3, 4, 3))

    def batches():
        raise AssertionError("read")
        yield

    assert reestimate(found, batches()) == 0
