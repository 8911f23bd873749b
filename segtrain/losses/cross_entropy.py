"""Cross-entropy loss."""

from torch import Tensor

from segtrain.losses.door import loss_function
from segtrain.losses.pixelwise import PixelwiseLoss, weighted_mean
from segtrain.task import Task


@loss_function
def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean of -log p(true label) over valid pixels.

    A binary logit x stands for the softmax over [0, x], a multilabel one for one such softmax for each
    class. ``label_smoothing`` is the share of probability spread over all labels (Szegedy et al. 2016,
    section 7). ``class_weights``, one for each of ``task.label_names``, make it a weighted mean: equal
    weights change nothing.
    """
    known = task.is_known(target)  # all shapes are the target's: (N, H, W), multilabel (N, C, H, W)
    losses = task.negative_log_likelihood(logits, target, known, label_smoothing=label_smoothing)
    return weighted_mean(losses, task.label_weights(target, known, class_weights))


class CrossEntropyLoss(PixelwiseLoss):
    """`cross_entropy_loss` with its options, and those of `PixelwiseLoss`."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return cross_entropy_loss(logits, target, self.task, **self.shared)
