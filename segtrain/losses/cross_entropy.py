"""Cross-entropy between the predicted labels and the true ones."""

from collections.abc import Sequence

from torch import Tensor, nn

from segtrain.losses.class_weights import ClassWeights, OptionalCounts, label_weights
from segtrain.losses.options import check_range
from segtrain.losses.pixels import weighted_mean
from segtrain.losses.precision import full_precision
from segtrain.task import Task


@full_precision
def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Take the mean of -log p(true label) over valid pixels.

    A binary logit x stands for the softmax over [0, x], a multilabel one for one such softmax for each class.
    ``label_smoothing`` is the share of probability spread over all labels (Szegedy et al. 2016, section 7).
    ``class_weights``, one for each of ``task.label_names``, make it a weighted mean: weights of 2 change nothing.
    """
    losses = task.negative_log_likelihood(logits, target, label_smoothing=label_smoothing)
    return weighted_mean(losses, task.label_weights(target, class_weights))


class CrossEntropyLoss(nn.Module):
    """`cross_entropy_loss` with its options; ``classes`` names the true labels whose pixels count, None stands for all.

    For a multilabel task these are channels; the one class of a binary task is all there is. ``pixel_counts`` are what
    a scheme makes the ``class_weights`` from.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        task: Task,
        *,
        label_smoothing: float = 0.0,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0, 1)
        self.task = task
        self.label_smoothing = label_smoothing
        weights = label_weights(class_weights, task, classes=classes, pixel_counts=pixel_counts)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return cross_entropy_loss(
            logits, target, self.task, label_smoothing=self.label_smoothing, class_weights=self.class_weights
        )
