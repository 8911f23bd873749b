"""The one way through a model: stored pixels are copied, normalised, and run in the precision of the runtime."""

import pytest
import torch
from torch import nn

from segtrain.inference.network import Network, OneByOne
from segtrain.models import Normalize, Outputs
from segtrain.runtime.device import Runtime

CPU = torch.device("cpu")


class Doubling(nn.Module):
    """A model whose logits are a convolution of twice the identity; it remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 2.0)
        self.dropout = nn.Dropout(0.5)
        self.normalize = Normalize([0.5], [0.25])
        self.seen = []

    def forward(self, images):
        self.seen.append((images, self.training, torch.is_grad_enabled()))
        return self.conv(images)


def pixels(dtype=torch.uint8):
    return torch.tensor([[[[0, 51], [204, 255]]]], dtype=dtype)


def test_pixels_are_normalised_before_the_model_sees_them():
    model = Doubling()
    outputs = Network(model, Runtime(CPU, "fp32"))(pixels())
    # 0, 51, 204 and 255 of 255 are 0, 0.2, 0.8 and 1; (x - 0.5) / 0.25; then twice that
    expected = torch.tensor([[[[-2.0, -1.2], [1.2, 2.0]]]])
    assert isinstance(outputs, Outputs)
    torch.testing.assert_close(model.seen[0][0], expected)
    torch.testing.assert_close(outputs.logits, 2 * expected)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_model_computes_in_the_precision_of_the_runtime_and_images_stay_float32(precision, dtype):
    model = Doubling()
    assert Network(model, Runtime(CPU, precision))(pixels()).logits.dtype == dtype
    assert model.seen[0][0].dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_images_are_laid_out_as_the_runtime_says():
    model = Doubling()
    model.normalize = Normalize([0.5] * 3, [0.25] * 3)
    model.conv = nn.Conv2d(3, 1, 1)
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    for channels_last in (True, False):
        Network(model, Runtime(CPU, "fp32", channels_last=channels_last))(images)
    layouts = [seen.is_contiguous(memory_format=torch.channels_last) for seen, _, _ in model.seen]
    assert layouts == [True, False]


def test_what_stands_around_the_model_is_what_runs():
    model = Doubling()
    wrapper = nn.Sequential(model, nn.Upsample(scale_factor=2))
    network = Network(model, Runtime(CPU, "fp32"), module=wrapper)
    assert network(pixels()).logits.shape == (1, 1, 4, 4)
    assert network.model is model
    with network.evaluating():
        assert not wrapper.training
        assert not model.training
    assert wrapper.training
    assert model.training


@pytest.mark.parametrize("was_training", [True, False])
def test_evaluating_leaves_the_model_in_the_mode_that_it_was_in(was_training):
    model = Doubling().train(was_training)
    network = Network(model, Runtime(CPU, "fp32"))
    with network.evaluating():
        network(pixels())
    assert model.seen[0][1:] == (False, False)
    assert model.training is model.dropout.training is was_training


def test_evaluating_leaves_it_so_after_an_error_too():
    model = Doubling()
    network = Network(model, Runtime(CPU, "fp32"))
    with pytest.raises(KeyError), network.evaluating():
        raise KeyError("a sample")
    assert model.training
    assert network(pixels()).logits.requires_grad


class Rounding(nn.Module):
    """A model whose answer hangs on how many images it is shown at once, as that of a CPU's kernels may."""

    normalize = Normalize([0.5], [0.25])

    def forward(self, images):
        return images * (1 + 2**-20 * len(images)), images.mean((2, 3)) * len(images)


@pytest.mark.parametrize("least", [1, 2])
def test_one_by_one_an_image_is_answered_alike_in_batches_of_any_length(least, monkeypatch):
    monkeypatch.setattr(Network, "least_batch", least)  # as a file asks for that is exported for batches of that length
    network = Network(Rounding(), Runtime(CPU, "fp32"))
    images = torch.randint(0, 256, (4, 1, 3, 5), dtype=torch.uint8)
    single = OneByOne(network)(images)
    assert not torch.equal(network(images).logits, single.logits)
    parts = [network(part) for part in images.split(least)]
    assert torch.equal(single.logits, torch.cat([part.logits for part in parts]))
    assert torch.equal(single.labels, torch.cat([part.labels for part in parts]))
