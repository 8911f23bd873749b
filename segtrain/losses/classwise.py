"""Base of the class-wise losses (one score for each class), and their mean over classes."""

import logging
from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor, nn

from segtrain.losses.class_weights import ClassWeights, OptionalCounts, channel_weights, task_of_options
from segtrain.task import Mode, Task

log = logging.getLogger(__name__)


class Shared(TypedDict):
    """The options that every class-wise loss function takes."""

    per_image: bool
    class_weights: Tensor | None


class ClasswiseLoss(nn.Module):
    """Base class of class-wise losses: scores per image or per batch, and class weights.

    ``task`` is a `Task` or, like ``mode``, the name of a mode: the number of classes is then that of
    the logits' channels. ``classes`` names those that count, None means all. ``class_weights`` make
    the mean over classes a weighted one; a binary task has a single class, where they change nothing
    and a warning says so. ``pixel_counts``, one for each of ``task.label_names``, are what a scheme
    computes weights from.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        per_image: bool = False,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__()
        self.task = task_of_options(task, mode, classes=classes, weights=class_weights)
        self.per_image = per_image
        counted = classes or (self.task.class_names if isinstance(self.task, Task) else ())
        if class_weights is not None and len(counted) == 1:
            log.warning(
                "loss.class_weights: do nothing in %s, as %s is the only class that it scores; weigh pixels with "
                "loss=bce loss.pos_weight=2, or misses against false alarms with loss=tversky",
                type(self).__name__,
                counted[0],
            )
        weights = channel_weights(class_weights, self.task, classes=classes, pixel_counts=pixel_counts)
        # A buffer moves with the loss; not persistent, as the config says it and checkpoints need not.
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def shared(self) -> Shared:
        """The options that every class-wise function takes, as keyword arguments."""
        return {"per_image": self.per_image, "class_weights": self.class_weights}


def pixel_axes(*, per_image: bool) -> tuple[int, ...]:
    """Axes of ``(N, C, H, W)`` to sum over: with the batch ``(C,)`` remains, per image ``(N, C)``."""
    return (2, 3) if per_image else (0, 2, 3)


def class_mean(losses: Tensor, counted: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean of losses ``(C,)`` or ``(N, C)`` where bool ``counted`` holds, weighted by class ``(C,)``.

    Gives 0 with a gradient of 0 where nothing counts.
    """
    weights = counted.to(losses.dtype)
    if class_weights is not None:
        weights = weights * class_weights.to(losses.dtype)
    total = weights.sum()
    return (losses * weights).sum() / total.where(total > 0, 1)  # `where`: a branch would wait for the device
