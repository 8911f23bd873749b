"""`torch.compile` captures every architecture whole, and the captured step computes what the plain one does."""

import copy
import shutil

import pytest
import torch
from torch import nn

from segtrain.models import create_model, decoders

ARCHS = sorted(name.lower() for name in decoders.__all__)


def make(arch):
    """Build a model in float64 that drops nothing at random, and a twin of it."""
    torch.manual_seed(0)
    model = create_model(arch, "test_vit" if arch == "dpt" else "test_resnet", num_classes=2).double().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return model, copy.deepcopy(model)


def step(model, called):
    image = torch.randn(2, 3, 49, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits = called(image)
    logits.square().mean().backward()
    return {
        "logits": logits.detach(),
        **{name: parameter.grad for name, parameter in model.named_parameters()},
        **dict(model.named_buffers()),  # the statistics of the normalisation have moved
    }


def assert_compiles(arch, backend):
    torch.compiler.reset()
    plain, twin = make(arch)
    compiled = torch.compile(twin, backend=backend, fullgraph=True)
    torch.testing.assert_close(step(twin, compiled), step(plain, plain))


FAST = ("deeplabv3", "fpn", "unet")


@pytest.mark.parametrize(
    "arch", [arch if arch in FAST else pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHS]
)
def test_the_forward_is_captured_as_one_graph_and_trains_the_same(arch):
    assert_compiles(arch, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_the_backward_is_captured_too_and_trains_the_same(arch):
    assert_compiles(arch, "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_a_step_compiled_to_machine_code_computes_the_same():
    assert_compiles("unet", "inductor")
