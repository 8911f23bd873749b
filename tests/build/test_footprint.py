"""What is counted on the meta device is what a real step takes, and by hand for a single convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from segtrain.build.footprint import count_footprint, count_pass, state_per_weight
from segtrain.build.parts import build_model, checked_config
from segtrain.config.compose import compose
from segtrain.models.activation_checkpointing import checkpoint_blocks
from segtrain.task import make_task

CLASSES = ["a", "b", "c"]
CHECKPOINTED = ("trainer.activation_checkpointing=true",)


def config_of(*words):
    sizes = ("data.image_size=64", "data.batch_size=2")
    return checked_config(compose("train", ["arch=fpn", "encoder=resnet18", *sizes, *words]).job)


def test_a_convolution_by_hand():
    with torch.device("meta"):
        model = nn.Conv2d(3, 2, 1)
    found = count_pass(model, (1, 3, 4, 4))
    # the image; log-probabilities in float32, labels in int64 and their total weight for the loss
    assert sorted(found.kept) == sorted([3 * 16 * 4, 2 * 16 * 4, 16 * 8, 4])
    assert found.operations == 2 * (2 * 3 * 2 * 16)  # forward, and backward to the weights: the image needs no gradient


@pytest.mark.parametrize(
    ("layer", "forward"),
    [
        (nn.Conv2d(4, 4, 3, padding=1, groups=4), 2 * 4 * 9 * 16),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), 2 * 4 * 2 * 4 * 16),
    ],
)
def test_depthwise_and_transposed_convolutions_by_hand(layer, forward):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layer).to("meta")
    operations = count_pass(model, (1, 3, 4, 4)).operations
    first = 2 * 3 * 4 * 16
    assert operations == 2 * first + 3 * forward  # no gradient of the image; those of input and weight of the other


def kept_in_truth(config):
    """Bytes that a step on the CPU keeps, and its weights do not account for."""
    torch.manual_seed(0)
    model = build_model(config, make_task("multilabel", CLASSES), channels=3, pretrained=False).train()
    if config.trainer.activation_checkpointing:
        checkpoint_blocks(model)
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    half = config.trainer.precision == "bf16"
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(torch.rand(2, 3, 64, 64))
        F.cross_entropy(logits.float(), torch.zeros(2, 64, 64, dtype=torch.long))
    return sum(storage.nbytes() for storage in kept.values())


def test_float32_is_counted_to_the_byte():
    config = config_of("trainer.precision=fp32")
    found = count_footprint(config, out_channels=3)
    assert found.activations == kept_in_truth(config) > 2**20
    assert found.copies == 0
    assert found.passing == 2 * 2 * 64 * 32 * 32 * 4  # twice the 64 maps of the stem, two images at half the size


def test_checkpointed_activations_are_those_kept_in_truth_and_the_largest_block():
    plain, config = config_of("trainer.precision=fp32"), config_of(*CHECKPOINTED, "trainer.precision=fp32")
    found = count_footprint(config, out_channels=3)
    # of two images, the first branch of the pyramid: its input is kept anyway, then three times what a convolution
    # and a group normalisation keep, and the upsampled maps between
    largest = found.activations - kept_in_truth(config)
    assert largest > 0
    assert found.activations < 0.7 * count_footprint(plain, out_channels=3).activations
    assert found.operations > 1.2 * count_footprint(plain, out_channels=3).operations


def test_the_largest_part_by_hand():
    parts = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sigmoid()), nn.Sequential(nn.Conv2d(2, 3, 1), nn.Tanh()))
    model = parts.to("meta")
    found = count_pass(model, (1, 3, 4, 4), [(part, part) for part in parts])
    assert found.largest_part == (3 + 2) * 16 * 4  # the image and the sigmoid; the second keeps its three maps alone
    assert count_pass(model, (1, 3, 4, 4)).largest_part == 0


def test_half_precision_is_counted_with_the_copies_of_weights_that_autocast_keeps():
    config = config_of("trainer.precision=bf16")
    found = count_footprint(config, out_channels=3)
    assert found.activations + found.copies == pytest.approx(kept_in_truth(config), rel=0.02)
    assert found.activations < 0.6 * count_footprint(config_of("trainer.precision=fp32"), out_channels=3).activations


def test_weights_gradients_and_memory_of_the_optimizer_are_four_bytes_a_number():
    model = build_model(config_of(), make_task("multilabel", CLASSES), channels=3, pretrained=False)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    found = count_footprint(config_of("trainer.ema_decay=0.9"), out_channels=3)
    assert (found.weights, found.gradients, found.optimizer) == (4 * numbers, 4 * numbers, 8 * numbers)
    assert found.average == found.weights + found.buffers
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert count_footprint(config_of("encoder.freeze=true"), out_channels=3).gradients == 4 * (numbers - encoder)


@pytest.mark.parametrize(("optimizer", "share"), [("adamw", 2), ("sgd", 1)])
def test_an_optimizer_remembers_so_many_numbers_for_a_weight(optimizer, share):
    assert state_per_weight(config_of(f"optimizer={optimizer}").optimizer) == share
