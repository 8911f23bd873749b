"""Blocks that are compiled compute what they did; what cannot be compiled runs as it is, and the log says so."""

import copy
import importlib

import pytest
import torch
from torch import nn
from torch._dynamo import exc

from segtrain.models import create_model
from segtrain.models.activation_checkpointing import checkpoint_blocks
from segtrain.models.blocks import blocks
from segtrain.models.compiling import compile_blocks


@pytest.fixture(autouse=True)
def _torch_afterwards():
    names = [
        ("torch._dynamo.config", "recompile_limit"),
        ("torch._functorch.config", "force_non_lazy_backward_lowering"),
    ]
    modules = [(importlib.import_module(module), name) for module, name in names]
    before = [(module, name, getattr(module, name)) for module, name in modules if hasattr(module, name)]
    yield
    for module, name, value in before:
        setattr(module, name, value)
    torch._dynamo.reset()


class Net(nn.Module):
    """Three blocks of one class, and one of another."""

    def __init__(self):
        super().__init__()
        row = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(3)]
        self.rows = nn.ModuleList(row)
        self.last = Last()

    def forward(self, x):
        for block in self.rows:
            x = block(x)
        return self.last(x)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(x))


class Backend:
    """Runs what dynamo found as it is, and counts; or fails."""

    def __init__(self, error=None):
        self.graphs, self.error = 0, error

    def __call__(self, graph, inputs):
        if self.error:
            raise self.error
        self.graphs += 1
        return graph.forward


def two(backend, *, model=None, also=lambda _: None):
    torch.manual_seed(0)
    plain = (model or Net()).train()
    other = copy.deepcopy(plain)
    assert compile_blocks(other, backend=backend) == len(list(blocks(plain)))
    also(other)
    assert list(other.state_dict()) == list(plain.state_dict())
    return plain, other


def step(model, size=2):
    torch.manual_seed(1)
    model.zero_grad()
    images = torch.rand(size, 3, 32, 32).to(next(model.parameters()))
    loss = model(images).square().mean()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return [loss.detach(), *gradients, *(buffer.clone() for buffer in model.buffers())]


def same(one, other):
    assert len(one) == len(other) > 5
    for value, expected in zip(one, other, strict=True):
        torch.testing.assert_close(value, expected)


def test_a_step_is_the_same_and_blocks_alike_share_their_code():
    backend = Backend()
    plain, other = two(backend)
    same(step(plain), step(other))
    assert backend.graphs == 3  # for four blocks: the first one's input needs no gradient
    same(step(plain), step(other))
    assert backend.graphs == 3


def test_another_batch_size_is_taken():
    plain, other = two(Backend())
    for size in (4, 4, 3, 2):
        same(step(plain, size), step(other, size))


def test_a_whole_model_through_autograd_with_blocks_that_run_again():
    model = create_model("unet", "test_resnet", num_classes=1)
    plain, other = two("aot_eager", model=model, also=checkpoint_blocks)
    same(step(plain), step(other))


def test_evaluation_runs_what_is_not_compiled():
    backend = Backend()
    _, other = two(backend)
    with torch.inference_mode():
        other.eval()(torch.rand(1, 3, 8, 8))
    assert backend.graphs == 0


def test_a_deep_copy_has_weights_of_its_own():
    backend = Backend()
    plain, other = two(backend)
    averaged = copy.deepcopy(other)
    nn.init.zeros_(averaged.last.conv.weight)
    same(step(plain), step(other))
    assert not torch.equal(step(averaged)[0], step(other)[0])


@pytest.mark.parametrize("error", [RuntimeError("no C++ compiler was found\nset CXX"), exc.Unsupported("no such call")])
def test_what_a_backend_refuses_runs_as_it_is_and_one_line_says_so(error, caplog):
    plain, other = two(Backend(error))
    for _ in range(2):
        same(step(plain), step(other))  # buffers too: no block has run twice
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("segtrain")]
    assert line.startswith("trainer.compile: ")
    assert "runs as it is" in line
    assert str(error).splitlines()[0] in line
    assert "\n" not in line


def test_a_fault_of_one_block_leaves_those_compiled_that_run_again(caplog):
    class Fails(Backend):
        def __call__(self, graph, inputs):
            if self.graphs == 2:
                raise RuntimeError("too wide")
            return super().__call__(graph, inputs)

    model = Net()
    model.last = nn.Sequential(nn.Conv2d(3, 9, 1), nn.BatchNorm2d(9), nn.ReLU())
    plain, other = two(Fails(), model=model, also=checkpoint_blocks)
    for _ in range(2):
        same(step(plain), step(other))
    assert "too wide" in caplog.text


def test_an_error_of_a_block_itself_is_its_own():
    _, other = two(Backend())
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 5"):
        other(torch.rand(1, 5, 8, 8))


@pytest.mark.slow
def test_the_real_compiler_agrees_within_rounding():
    model = create_model("unet", "test_resnet", num_classes=1).double()
    plain, other = two("inductor", model=model)
    same(step(plain), step(other))


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_gpu_agrees_with_what_is_not_compiled(mode, caplog):
    torch.manual_seed(0)
    plain = create_model("unet", "test_resnet", num_classes=1).cuda().train()
    other = copy.deepcopy(plain)
    compile_blocks(other, mode=mode)
    for number in range(4):  # graphs are recorded in the second
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(number)).cuda()
        found = []
        for model in (plain, other):
            model.zero_grad()
            loss = model(images).square().mean()
            loss.backward()
            found.append((loss.detach().clone(), model.encoder.model.conv1[0].weight.grad.clone()))
        torch.testing.assert_close(found[0], found[1], rtol=2e-2, atol=1e-4)
    assert not caplog.messages
