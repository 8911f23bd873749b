"""Means over classes: weighted, over those that count, and 0 where none does."""

import logging

import torch

from segtrain.losses.classwise import ClasswiseLoss, class_mean, pixel_axes
from segtrain.task import Binary


def test_the_mean_is_over_what_counts_and_weighted_by_class():
    losses, counted = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])
    assert float(class_mean(losses, counted)) == 3.5
    assert float(class_mean(losses, counted, torch.tensor([3.0, 9.0, 1.0]))) == (3 * 1 + 6) / 4
    by_image = torch.stack([losses, losses + 1])
    assert float(class_mean(by_image, torch.stack([counted, counted]))) == (1 + 6 + 2 + 7) / 4


def test_a_mean_of_nothing_is_0_and_teaches_nothing():
    losses = torch.ones(2, requires_grad=True)
    mean = class_mean(losses, torch.zeros(2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert losses.grad.tolist() == [0, 0]


def test_sums_over_pixels_leave_the_classes_or_images_and_classes():
    x = torch.ones(2, 3, 4, 5)
    assert x.sum(pixel_axes(per_image=False)).tolist() == [40] * 3
    assert x.sum(pixel_axes(per_image=True)).tolist() == [[20] * 3] * 2


def test_weights_of_a_single_class_are_said_to_do_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        ClasswiseLoss(Binary(), class_weights=[1.0, 2.0])
    assert "loss.class_weights: do nothing in ClasswiseLoss, as foreground is the only class" in caplog.text
