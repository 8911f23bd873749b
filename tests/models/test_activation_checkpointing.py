"""Blocks that run again in the backward pass change memory alone: no bit of losses, gradients, buffers, randomness."""

import copy
from contextlib import suppress

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from segtrain.models import create_model, decoders
from segtrain.models.activation_checkpointing import buffers_kept, checkpoint_blocks, checkpointed_parts
from segtrain.models.blocks import blocks
from segtrain.training.parallel import Parallel

ENCODERS = {"DPT": "vit_tiny_patch16_224"}
OF_OTHER_KINDS = ("mit_b0", "swin_tiny_patch4_window7_224", "vgg11_bn", "efficientnet_b0", "densenet121")


def step(model, *, seed=1, half=False):
    """Return everything that a step leaves behind: the loss, gradients, buffers, and the state of random numbers."""
    side = 64
    torch.manual_seed(seed)
    images = torch.rand(2, 3, side, side)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = model(images)
    loss = (logits.float() * torch.linspace(-1, 1, logits.numel()).view_as(logits)).mean()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": loss.detach(), **gradients, **dict(model.named_buffers()), "random": torch.get_rng_state()}


def two(arch, encoder, **options):
    """A model as it is, and checkpointed."""
    torch.manual_seed(0)
    plain = create_model(arch.lower(), encoder, num_classes=2, **options).train()
    other = copy.deepcopy(plain)
    assert checkpoint_blocks(other) > 0
    assert list(other.state_dict()) == list(plain.state_dict())
    return plain, other


def same(one, other):
    assert one.keys() == other.keys()
    differing = [
        name for name, value in one.items() if not (value is other[name] is None or torch.equal(value, other[name]))
    ]
    assert not differing, differing[:5]


@pytest.mark.parametrize("arch", decoders.__all__)
def test_a_step_of_every_architecture_is_the_same_to_the_last_bit(arch):
    plain, other = two(arch, ENCODERS.get(arch, "test_resnet"))
    same(step(plain), step(other))


@pytest.mark.parametrize("encoder", OF_OTHER_KINDS)
def test_a_step_of_every_kind_of_encoder_is_the_same_to_the_last_bit(encoder):
    plain, other = two("FPN", encoder)
    same(step(plain), step(other))


def test_a_step_under_autocast_is_the_same_to_the_last_bit():
    plain, other = two("Unet", "test_resnet")
    same(step(plain, half=True), step(other, half=True))


def test_stochastic_depth_and_dropout_are_drawn_once():
    plain, other = two("FPN", "mit_b0", encoder_options={"drop_path_rate": 0.5})
    assert any(isinstance(part, DropPath) for block in blocks(other) for part in block.modules())
    same(step(plain), step(other))
    assert not torch.equal(step(other, seed=2)["loss"], step(other, seed=3)["loss"])


@pytest.mark.parametrize("has_unused", [False, True])
def test_a_step_on_several_ranks_is_the_same_to_the_last_bit(tmp_path, has_unused):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        found = [Parallel(one, device=torch.device("cpu"), has_unused=has_unused) for one in two("Unet", "test_resnet")]
        same(*map(step, found))
    finally:
        torch.distributed.destroy_process_group()


def test_running_statistics_are_updated_once_a_step():
    _, model = two("Unet", "test_resnet")
    step(model)
    step(model)
    counts = {name: int(value) for name, value in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert len(counts) > 10
    assert set(counts.values()) == {2}


def test_buffers_are_the_same_objects_afterwards_also_after_an_error():
    layer = nn.BatchNorm2d(3)
    before = dict(layer.named_buffers())
    with suppress(ZeroDivisionError), buffers_kept(layer):
        layer(torch.rand(2, 3, 4, 4))
        raise ZeroDivisionError
    assert all(buffer is before[name] for name, buffer in layer.named_buffers())
    assert layer.num_batches_tracked == 0


def test_evaluation_runs_the_same_code_as_ever(monkeypatch):
    plain, model = two("Unet", "test_resnet")
    monkeypatch.delattr("segtrain.models.activation_checkpointing.checkpoint")  # nobody asks for it
    with torch.inference_mode():
        assert torch.equal(model.eval()(torch.ones(1, 3, 64, 64)), plain.eval()(torch.ones(1, 3, 64, 64)))


def test_a_list_that_grows_after_a_block_has_read_it_is_taken_as_it_was():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, maps):
            return self.conv(sum(maps)).sigmoid()

    block = Joined()
    checkpoint_blocks(nn.ModuleList([block]))
    maps = [torch.rand(1, 3, 4, 4)]
    answer = block(maps)
    maps.append(answer)
    (gradient,) = torch.autograd.grad(answer.sum(), block.conv.bias)
    torch.testing.assert_close(gradient, (answer * (1 - answer)).sum((0, 2, 3)).detach())


def kept(model):
    """Bytes that a forward pass keeps for the backward pass, weights excepted."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found = {}

    def keep(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.rand(2, 3, 64, 64))
    return sum(storage.nbytes() for address, storage in found.items() if address not in own)


@pytest.mark.parametrize(("arch", "encoder"), [("Unet", "resnet18"), ("FPN", "mit_b0"), ("Unet", "vgg11_bn")])
def test_less_than_half_is_kept(arch, encoder):
    plain, other = two(arch, encoder)
    assert kept(other) < 0.5 * kept(plain)


def test_blocks_are_residual_blocks_and_steps_of_the_decoder():
    model = create_model("unet", "resnet18", num_classes=1)
    names = {id(module): name for name, module in model.named_modules()}
    found = [names[id(block)] for block in blocks(model)]
    encoder = [f"encoder.model.layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    assert found == [*encoder, *(f"decoder.blocks.{step}" for step in range(5)), "segmentation_head"]
    others = [(names[id(a)], names[id(b)]) for a, b in checkpointed_parts(model) if a is not b]
    assert others == [("encoder.model.conv1", "encoder.model.act1")]


def test_a_block_whose_input_is_changed_afterwards_raises_instead_of_computing_another_gradient():
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid())
    checkpoint_blocks(nn.ModuleList([block]))
    images = torch.rand(1, 3, 4, 4, requires_grad=True) * 2
    answer = block(images).sum()
    images.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        answer.backward()


@pytest.mark.gpu
def test_on_a_gpu_the_same_step_takes_less_than_six_tenths_of_the_memory():
    found, peaks = [], []
    torch.manual_seed(0)
    model = create_model("unet", "resnet34", num_classes=1).cuda().train()
    for _ in range(2):
        for _ in range(2):  # the first chooses kernels
            model.zero_grad()
            torch.manual_seed(1)
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            loss = model(torch.rand(8, 3, 256, 256, device="cuda")).square().mean()
            loss.backward()
            peaks.append(torch.cuda.max_memory_allocated() - before)
        found.append([loss.detach(), model.encoder.model.conv1.weight.grad.clone()])
        checkpoint_blocks(model)
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-4)
    assert peaks[3] < 0.6 * peaks[1]
