"""Soft areas of prediction and truth, and the losses on their overlap."""

from typing import NamedTuple

from torch import Tensor

from segtrain.task import Task

EPSILON = 1e-7
"""Keeps divisions and logarithms finite; far below the area of one pixel."""


class Regions(NamedTuple):
    """Areas in pixels, each ``(C,)`` or, image by image, ``(N, C)``."""

    overlap: Tensor
    predicted: Tensor
    true: Tensor
    valid: Tensor


def soft_regions(logits: Tensor, target: Tensor, task: Task, *, per_image: bool = False) -> Regions:
    """Sum probabilities over the pixels that count, and over the batch too unless ``per_image``."""
    probabilities = task.activation(logits)
    truth = task.one_hot(target, probabilities)
    valid = task.valid(target).to(probabilities.dtype)  # on the CPU sums and products of bool are far slower
    probabilities = probabilities * valid
    over = (2, 3) if per_image else (0, 2, 3)
    predicted = probabilities.sum(over)
    return Regions(
        overlap=(probabilities * truth).sum(over),
        predicted=predicted,
        true=truth.sum(over),
        valid=valid.sum(over).expand_as(predicted),
    )


def overlap_loss(score: Tensor, regions: Regions, *, log: bool = False) -> Tensor:
    """Take the mean of 1 - score (or -log score) over the classes, and over the images where they are kept apart.

    A class without a true pixel has no overlap to score, and its score would have no gradient. It scores the share of
    valid pixels that are *not* predicted as it: predicting it everywhere costs 1, nowhere 0, and each pixel the same.
    Every class keeps its weight in the mean, present or not, so that a batch with few classes does not pull harder at
    them. Classes (of images) without a valid pixel are left out.
    """
    area = regions.valid.clamp_min(1)
    score = score.where(regions.true > 0, 1 - regions.predicted / area)
    losses = -score.clamp_min(EPSILON).log() if log else 1 - score
    counted = regions.valid > 0
    return (losses * counted).sum() / counted.sum().clamp_min(1)
