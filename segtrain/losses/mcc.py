"""Matthews correlation coefficient (MCC) loss, an overlap loss that counts true negatives too."""

from torch import Tensor

from segtrain.losses.classwise import ClasswiseLoss, class_mean, pixel_axes
from segtrain.losses.door import loss_function
from segtrain.losses.pixelwise import EPSILON
from segtrain.task import Task, as_float


@loss_function
def mcc_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute 1 - MCC of the soft confusion matrix, the mean over classes (Abhishek and Hamarneh 2021, equation 4).

    From 0 to 2, and 1 for a random guess. ``per_image`` scores each image on its own;
    ``class_weights`` are ``(out_channels,)``. A class whose truth holds no pixel, or every one, has no
    correlation: it costs the share of valid pixels that are wrong.
    """
    probabilities = task.activation(logits)
    truth = task.one_hot(target, probabilities)
    valid = as_float(task.valid(target), probabilities.dtype)  # (N, 1 or C, H, W)
    rest = valid - truth  # (N, C, H, W): 1 at the valid pixels of other classes
    probabilities = probabilities * valid
    doubts = valid - probabilities
    # Each of the four is summed by itself: differences of large areas would lose the small ones to
    # rounding.
    over = pixel_axes(per_image=per_image)
    tp, fn = (probabilities * truth).sum(over), (doubts * truth).sum(over)
    fp, tn = (probabilities * rest).sum(over), (doubts * rest).sum(over)
    true, false = truth.sum(over), rest.sum(over)
    area = true + false
    # Clamped before the root, whose gradient is infinite at 0; that of the truth needs no gradient.
    spread = ((tp + fp) * (tn + fn)).clamp_min(EPSILON).sqrt() * (true * false).sqrt()
    correlation = (tp * tn - fp * fn) / spread.clamp_min(EPSILON)
    losses = (1 - correlation).where((true > 0) & (false > 0), (fp + fn) / area.clamp_min(1))
    return class_mean(losses, area > 0, class_weights)


class MCCLoss(ClasswiseLoss):
    """`mcc_loss` with the options of `ClasswiseLoss`."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return mcc_loss(logits, target, self.task, **self.shared)
