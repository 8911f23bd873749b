"""Mixup: what is blended with what, by a weight that hangs on seed, epoch and batch alone; and its loss."""

import pytest
import torch

from segtrain.data.loading.mixup import Mixup, mix
from segtrain.losses import CrossEntropyLoss
from segtrain.runtime.device import make_runtime
from segtrain.training.objective import Objective, partner_in


def batch_of(count=3, side=4):
    images = torch.arange(count * 3 * side * side).remainder(256).to(torch.uint8).view(count, 3, side, side)
    masks = torch.arange(count).view(-1, 1, 1).expand(count, side, side).to(torch.uint8)
    return {"image": images, "mask": masks, "id": [str(number) for number in range(count)]}


def test_each_image_is_blended_with_that_in_reverse_and_keeps_both_masks():
    batch = batch_of()
    mixed = mix(batch, 0.75)
    exact = 0.75 * batch["image"].double() + 0.25 * batch["image"].flip(0).double()
    assert mixed["image"].dtype == torch.uint8
    assert (mixed["image"].double() - exact).abs().max() <= 0.5
    assert (mixed["mask"][:, 0, 0].tolist(), mixed["partner_mask"][:, 0, 0].tolist()) == ([0, 1, 2], [2, 1, 0])
    assert mixed["image"].is_contiguous(memory_format=torch.channels_last)


def test_the_weight_hangs_on_seed_epoch_and_batch_alone():
    weights = [Mixup(0.5, seed=1).weight(2, number) for number in range(400)]
    assert weights == [Mixup(0.5, seed=1).weight(2, number) for number in range(400)]
    assert 160 < sum(weight is not None for weight in weights) < 240
    assert weights != [Mixup(0.5, seed=1).weight(3, number) for number in range(400)]
    mean = sum(filter(None, weights)) / sum(weight is not None for weight in weights)
    assert mean == pytest.approx(0.5, abs=0.06)  # Beta(a, a) is symmetric


def test_a_resume_in_mid_epoch_mixes_the_rest_alike():
    mixup = Mixup(1.0, seed=0)
    whole = [one["own_weight"] for one in mixup.follow(iter([batch_of()] * 5), 4, 0)]
    assert [one["own_weight"] for one in mixup.follow(iter([batch_of()] * 2), 4, 3)] == whole[3:]


def test_the_loss_is_that_of_both_masks_by_their_weights():
    torch.manual_seed(0)
    logits = torch.randn(3, 3, 4, 4)
    objective = Objective(CrossEntropyLoss("multiclass"), aux_weight=0.0, label_weight=0.0)
    batch = mix(batch_of(), 0.75)
    partner = partner_in(batch, make_runtime("cpu", "fp32"))
    own, other = (objective(logits, batch[key].long()) for key in ("mask", "partner_mask"))
    assert objective(logits, batch["mask"].long(), partner=partner).item() == pytest.approx(
        (0.75 * own + 0.25 * other).item(), rel=1e-6
    )


def test_a_batch_that_is_not_mixed_has_no_partner():
    assert partner_in(batch_of(), make_runtime("cpu", "fp32")) is None
