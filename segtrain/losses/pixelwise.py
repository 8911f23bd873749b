"""Base of the pixel-wise losses, and the weighted mean over valid pixels."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from segtrain.losses.class_weights import ClassWeights, OptionalCounts, label_weights, task_of_options
from segtrain.losses.options import check_range
from segtrain.task import Mode, Task

EPSILON = 1e-7
"""Lower bound that keeps divisions, roots and logarithms finite; far below the area of one pixel."""


class Shared(TypedDict):
    """The options that every pixel-wise loss function takes."""

    label_smoothing: float
    class_weights: Tensor | None


class PixelwiseLoss(nn.Module):
    """Base class of pixel-wise losses: label smoothing, and class weights by the true label.

    ``task`` is a `Task` or, like ``mode``, the name of a mode: the number of classes is then that of
    the logits' channels. ``classes`` names the labels that count, None means all; for a multilabel
    task, and in `BCELoss`, they are channels, and a binary task has only one. ``class_weights`` make
    the mean over pixels a weighted one. ``pixel_counts``, one for each of ``task.label_names``, are
    what a scheme computes weights from.
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
        """The options that every pixel-wise function takes, as keyword arguments."""
        return {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean of losses weighted by float ``weights`` of the same shape, or bool where losses are 0 if false.

    Gives 0 with a gradient of 0 where all weights are 0. Float weights overwrite the losses.
    """
    if weights.dtype == torch.bool:
        total = weights.count_nonzero()  # no product needed, which would be another pass over memory
    else:
        losses, total = losses.mul_(weights), weights.sum()
    return losses.sum() / total.where(total > 0, 1)
