"""The weighted mean over pixels, and the options that all pixel-wise losses have."""

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses.pixelwise import PixelwiseLoss, weighted_mean
from segtrain.task import Multiclass


def test_the_mean_is_weighted():
    assert float(weighted_mean(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0]))) == 1.5


def test_bool_weights_count_and_losses_are_0_where_they_are_false():
    losses, valid = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([True, False, True])
    assert float(weighted_mean(losses, valid)) == 2.0
    assert losses.tolist() == [1.0, 0.0, 3.0]


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_a_mean_of_nothing_is_0_and_teaches_nothing(dtype):
    logits = torch.zeros(2, requires_grad=True)
    mean = weighted_mean(logits * 2, torch.zeros(2, dtype=dtype))
    mean.backward()
    assert float(mean.detach()) == 0
    assert dtype == torch.bool or logits.grad.tolist() == [0, 0]


def test_class_weights_are_in_the_order_of_labels_and_in_no_checkpoint():
    loss = PixelwiseLoss(Multiclass(["a", "b"]), label_smoothing=0.1, class_weights={"b": 2.0, "a": 1.0})
    assert loss.class_weights.tolist() == [1.0, 2.0]
    assert loss.shared["label_smoothing"] == 0.1
    assert loss.state_dict() == {}
    with pytest.raises(ConfigError, match=r"loss\.label_smoothing: 1 is out of range"):
        PixelwiseLoss(Multiclass(["a", "b"]), label_smoothing=1)
