"""Soft areas that overlap losses (Dice, Jaccard, Tversky) share, and the loss of a score on them."""

from typing import NamedTuple

from torch import Tensor

from segtrain.losses.classwise import class_mean, pixel_axes
from segtrain.losses.pixelwise import EPSILON
from segtrain.task import Task, as_float


class Regions(NamedTuple):
    """Soft areas in pixels, each ``(C,)`` or, per image, ``(N, C)``."""

    overlap: Tensor
    predicted: Tensor
    true: Tensor
    valid: Tensor


def soft_regions(logits: Tensor, target: Tensor, task: Task, *, per_image: bool = False) -> Regions:
    """Sum probabilities over the valid pixels, and over the batch too unless ``per_image``."""
    probabilities = task.activation(logits)  # (N, C, H, W)
    truth = task.one_hot(target, probabilities)  # (N, C, H, W), 0 where ignored
    valid = as_float(task.valid(target), probabilities.dtype)  # on the CPU sums and products of bool are far slower
    probabilities = probabilities * valid
    over = pixel_axes(per_image=per_image)
    predicted = probabilities.sum(over)
    return Regions(
        overlap=(probabilities * truth).sum(over),
        predicted=predicted,
        true=truth.sum(over),
        valid=valid.sum(over).expand_as(predicted),  # one channel for all classes, except multilabel
    )


def score_absent(score: Tensor, regions: Regions) -> Tensor:
    """Replace the score of a class without a true pixel by the share of valid pixels *not* predicted as it.

    Such a class has no overlap, and its score would have no gradient. So predicting it everywhere costs 1, nowhere 0,
    and each pixel the same.
    """
    return score.where(regions.true > 0, 1 - regions.predicted / regions.valid.clamp_min(1))


def overlap_loss(score: Tensor, regions: Regions, *, log: bool = False, class_weights: Tensor | None = None) -> Tensor:
    """Mean of 1 - score (or -log score) over classes, and over images where scores are per image.

    Every class keeps its weight in the mean, present or not (`score_absent`), so that the gradient of
    a class does not depend on how many others a batch holds. Classes (of images) without a valid
    pixel are left out.
    """
    return class_mean(shortfall(score_absent(score, regions), log=log), regions.valid > 0, class_weights)


def shortfall(score: Tensor, *, log: bool) -> Tensor:
    """Loss of a score: 1 - score, or -log score, which grows steeply towards 0."""
    return -score.clamp_min(EPSILON).log() if log else 1 - score
