"""Binary cross-entropy of every channel on its own."""

from collections.abc import Sequence

from torch import Tensor, nn

from segtrain.losses.options import check_range, weight_vector
from segtrain.losses.pixels import weighted_mean
from segtrain.losses.precision import full_precision
from segtrain.task import Task, binary_nll


@full_precision
def bce_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Take the mean binary cross-entropy over channels and valid pixels; a multiclass task is seen as one against rest.

    ``pos_weight``, ``(out_channels,)``, multiplies the loss where the class is there. ``label_smoothing`` moves the
    truth from 0 and 1 towards 1/2, as a share of that way.
    """
    factor = None if pos_weight is None else pos_weight.view(-1, 1, 1)
    truth = task.one_hot(target, logits)
    losses = binary_nll(logits, truth, label_smoothing=label_smoothing, pos_weight=factor)
    return weighted_mean(losses, task.valid(target).expand_as(losses))


class BCELoss(nn.Module):
    """`bce_loss` with its options; ``pos_weight`` is one for each of ``task.class_names``, or one for all."""

    pos_weight: Tensor | None

    def __init__(
        self, task: Task, *, pos_weight: Sequence[float] | float | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0, 1)
        self.task = task
        self.label_smoothing = label_smoothing
        values = [pos_weight] * task.out_channels if isinstance(pos_weight, int | float) else pos_weight
        self.register_buffer("pos_weight", weight_vector("pos_weight", values, task.class_names), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return bce_loss(logits, target, self.task, pos_weight=self.pos_weight, label_smoothing=self.label_smoothing)
