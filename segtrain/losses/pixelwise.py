"""Losses that score pixels one by one, and their mean over those that count."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from segtrain.losses.class_weights import ClassWeights, OptionalCounts, label_weights, task_of_options
from segtrain.losses.options import check_range
from segtrain.task import Mode, Task

EPSILON = 1e-7
"""Keeps divisions, roots and logarithms finite; far below the area of one pixel."""


class Shared(TypedDict):
    """The options that every pixel-wise loss function takes."""

    label_smoothing: float
    class_weights: Tensor | None


class PixelwiseLoss(nn.Module):
    """What pixel-wise losses share: label smoothing, and how much the pixels of each true label count.

    ``task`` is a `Task`, or the name of a mode, as ``mode`` too: the logits then say how many classes there are.
    ``classes`` names the labels that count at all, None stands for every one; for a multilabel task, and in `BCELoss`,
    they are channels, and the one class of a binary task is all there is. ``class_weights`` make the mean over the
    pixels a weighted one. ``pixel_counts``, one for each of ``task.label_names``, are what a scheme makes weights from.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        label_smoothing: float = 0.0,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0, 1)
        self.task = task_of_options(task, mode, classes=classes, weights=class_weights)
        self.label_smoothing = label_smoothing
        weights = label_weights(class_weights, self.task, classes=classes, pixel_counts=pixel_counts)
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def shared(self) -> Shared:
        """The options to hand to the function."""
        return {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Take the mean weighted by float ``weights`` of the same shape, or bool ones: of losses that are 0 where false.

    Gives 0 with a gradient of 0 where all weights are 0. The losses are overwritten.
    """
    if weights.dtype == torch.bool:
        total = weights.count_nonzero()
    else:
        losses, total = losses.mul_(weights), weights.sum()
    return losses.sum() / total.where(total > 0, 1)
