"""Online hard example mining (OHEM): cross-entropy of the hardest pixels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import PixelwiseLoss, weighted_mean
from segtrain.task import Mode, Task, as_float

_ROUNDING = 1e-6  # of a share of pixels: 0.07 times 100 is a little above 7


@loss_function
def ohem_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    keep: float = 0.25,
    threshold: float | None = None,
    label_smoothing: float = 0.0,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean of -log p(true label) over the hardest valid pixels (Shrivastava et al. 2016, section 4).

    The smaller p, the harder. ``keep`` is the share of the valid pixels that are kept, of the batch or,
    with ``per_image``, of each image. A ``threshold`` adds every pixel whose p lies below it.
    ``class_weights``, one for each of ``task.label_names``, make the mean a weighted one; they do not
    affect the choice, except that labels of weight 0 are left out from the start.
    """
    known = task.is_known(target)
    losses = task.negative_log_likelihood(logits, target, known, label_smoothing=label_smoothing)
    weights = task.label_weights(target, known, class_weights)
    # The choice goes by the plain likelihood: smoothed, the loss of a confident pixel rises again.
    hardness = task.negative_log_likelihood(logits.detach(), target, known) if label_smoothing else losses
    kept = hardness >= _hardest(hardness, weights.bool(), keep=keep, per_image=per_image)
    if threshold is not None:
        kept |= hardness > -math.log(threshold)
    return weighted_mean(losses, weights * as_float(kept, losses.dtype))  # floats, as what is not kept is not 0


@torch.no_grad()
def _hardest(hardness: Tensor, counted: Tensor, *, keep: float, per_image: bool) -> Tensor:
    """Smallest hardness that is kept, ``(1, 1, ...)`` or per image ``(N, 1, ...)``, to broadcast."""
    images = len(hardness) if per_image else 1
    rows = hardness.where(counted, -1).reshape(images, -1)  # losses are >= 0, so -1 sorts last
    at_most = max(1, math.ceil(keep * rows.shape[1] - _ROUNDING))  # known without asking the device how many count
    hardest = rows.topk(at_most, sorted=True).values
    # In float64: float32 counts pixels no further than 2^24.
    kept = (counted.reshape(images, -1).sum(1, keepdim=True).double() * keep - _ROUNDING).ceil().long()
    return hardest.gather(1, (kept - 1).clamp(0, at_most - 1)).view(-1, *[1] * (hardness.ndim - 1))


class OHEMLoss(PixelwiseLoss):
    """`ohem_loss` with its options, and those of `PixelwiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        keep: float = 0.25,
        threshold: float | None = None,
        label_smoothing: float = 0.0,
        per_image: bool = False,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__(
            task,
            mode,
            label_smoothing=label_smoothing,
            classes=classes,
            class_weights=class_weights,
            pixel_counts=pixel_counts,
        )
        check_range("keep", keep, 0, 1, including_low=False, including_high=True)
        if threshold is not None:
            check_range("threshold", threshold, 0, 1, including_low=False)
        self.keep = keep
        self.threshold = threshold
        self.per_image = per_image

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return ohem_loss(
            logits, target, self.task, keep=self.keep, threshold=self.threshold, per_image=self.per_image, **self.shared
        )
