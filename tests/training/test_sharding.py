"""A model that is shared out, here over one rank: several are in tests/commands/test_fsdp.py."""

from copy import deepcopy

import pytest
import torch

from segtrain.models import Outputs, create_model
from segtrain.runtime.device import Runtime
from segtrain.runtime.shards import whole
from segtrain.runtime.world import ALONE
from segtrain.training.sharding import Shards

ON_CPU = pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"), reason="this torch does it on GPUs only")
CPU_AND_GPU = [pytest.param("cpu", marks=ON_CPU), pytest.param("cuda", marks=pytest.mark.gpu)]
PAIRS = [
    ("unet", "resnet18"),
    ("fpn", "beit_base_patch16_224"),
    ("segformer", "mit_b0"),
    ("upernet", "swin_tiny_patch4_window7_224"),
    ("deeplabv3plus", "mobilenetv3_small_100"),
    ("unetplusplus", "efficientnet-b0"),
    ("pan", "resnet18"),
    ("manet", "regnety_002"),
    ("linknet", "densenet121"),
    ("unet", "hrnet_w18_small"),
    ("pspnet", "convnext_atto"),
    ("dpt", "vit_tiny_patch16_224"),
]


@pytest.fixture
def job(tmp_path):
    def join(device):
        backend = "nccl" if device == "cuda" else "gloo"
        where = f"file://{tmp_path}/meeting"
        torch.distributed.init_process_group(backend, init_method=where, rank=0, world_size=1)

    yield join
    torch.distributed.destroy_process_group()


def gradients(model, image):
    """The gradients of a loss that every logit counts in differently, by name."""
    torch.manual_seed(1)  # of what drops out
    outputs = Outputs.of(model(image))
    weights = torch.linspace(-1, 1, outputs.logits.numel(), device=image.device).view_as(outputs.logits)
    sum((weights * logits).mean() for logits in (outputs.logits, *outputs.aux)).backward()
    return {name: whole(weight.grad) for name, weight in model.named_parameters() if weight.grad is not None}


def compare(job, device, arch, encoder, size=64):
    torch.manual_seed(0)
    runtime = Runtime(torch.device(device), "fp32")
    model = create_model(arch, encoder, num_classes=3, aux_heads=[16] if (arch, encoder) == PAIRS[0] else ())
    runtime.place(model)
    before = deepcopy(model.train()).to(memory_format=torch.contiguous_format)  # as what is shared out
    image = torch.linspace(-1, 1, 2 * 3 * size * size, device=device).view(2, 3, size, size).sin()
    job(device)
    shards = Shards(model, image[:1], runtime, ALONE)
    found, expected = gradients(model, image), gradients(before, image)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name].cpu(), gradient.cpu(), rtol=1e-3, atol=1e-5, msg=name)
    return model, before, shards, image


@pytest.mark.parametrize("device", CPU_AND_GPU)
def test_gradients_and_copies_are_those_of_the_whole_model(job, device):
    model, before, shards, image = compare(job, device, "fpn", "test_resnet")
    copy = shards.whole(model)
    torch.testing.assert_close(copy(image), before.eval()(image), rtol=1e-4, atol=1e-5)  # running statistics too
    assert not any(weight.requires_grad for weight in copy.parameters())
    assert all(
        torch.equal(whole(mine).cpu(), theirs.cpu())
        for mine, theirs in zip(shards.copy(model).parameters(), before.parameters(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "encoder"), PAIRS)
def test_every_architecture_can_be_shared_out(job, arch, encoder):
    compare(job, "cpu", arch, encoder)
