"""Binary cross-entropy of each channel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.errors import ConfigError
from segtrain.losses.class_weights import ClassWeights, OptionalCounts, task_of_options
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import PixelwiseLoss, weighted_mean
from segtrain.task import Mode, Task, binary_nll


@loss_function
def bce_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean binary cross-entropy over channels and valid pixels; one-vs-rest for a multiclass task.

    ``pos_weight``, ``(out_channels,)`` or ``(1,)``, multiplies the loss of positive pixels.
    ``label_smoothing`` moves the truth from 0 and 1 towards 1/2, as a share of that way.
    ``class_weights``, one for each of ``task.label_names``, make it a weighted mean: over the
    labels of a binary task, over the channels otherwise.
    """
    truth = task.presence(target, logits)  # bool (N, C, H, W)
    valid = task.valid(target)  # bool (N, 1, H, W), multilabel (N, C, H, W)
    factor = None if pos_weight is None else pos_weight.view(-1, 1, 1)  # broadcasts over H and W
    losses = binary_nll(logits, truth, valid, label_smoothing=label_smoothing, pos_weight=factor)
    return weighted_mean(losses, task.channel_weights(target, valid, class_weights))


class BCELoss(PixelwiseLoss):
    """`bce_loss` with its options, and those of `PixelwiseLoss`.

    ``pos_weight`` is a list with one number for each of ``task.class_names``, or one number for all.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        pos_weight: Sequence[float] | float | None = None,
        label_smoothing: float = 0.0,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        if pos_weight is not None and not isinstance(pos_weight, int | float | Sequence):
            raise ConfigError(f"loss.pos_weight: expected a number or a list, got {pos_weight!r}; give pos_weight=2")
        # A list has as many entries as there are classes, so a mode by name becomes a task with it.
        one_each = None if isinstance(pos_weight, int | float) else pos_weight
        super().__init__(
            task_of_options(task, mode, classes=None, weights=one_each),
            None,
            label_smoothing=label_smoothing,
            classes=classes,
            class_weights=class_weights,
            pixel_counts=pixel_counts,
        )
        self.register_buffer("pos_weight", _one_each(pos_weight, self.task), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return bce_loss(logits, target, self.task, pos_weight=self.pos_weight, **self.shared)


def _one_each(pos_weight: Sequence[float] | float | None, task: Task | Mode) -> Tensor | None:
    if pos_weight is None:
        return None
    values = [pos_weight] if isinstance(pos_weight, int | float) else list(pos_weight)
    if isinstance(pos_weight, Sequence) and isinstance(task, Task) and len(values) != task.out_channels:
        raise ConfigError(
            f"loss.pos_weight: {len(values)} weights, expected {task.out_channels}, one each for "
            f"{', '.join(task.class_names)}; set 'loss.pos_weight=[{','.join('1.0' for _ in task.class_names)}]'"
        )
    for value in values:
        check_range("pos_weight", value, 0, including_low=False)
    return torch.tensor(values, dtype=torch.float32)
