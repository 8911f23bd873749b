"""Cross-entropy of the hardest pixels alone."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import PixelwiseLoss, weighted_mean
from segtrain.losses.precision import full_precision
from segtrain.task import Task


@full_precision
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
    """Take the mean of -log p(true label) over the hardest valid pixels (Shrivastava et al. 2016, section 4).

    ``keep`` is their share of the valid pixels, of the batch or, with ``per_image``, of each image. A ``threshold``
    adds every pixel whose p lies below it. ``class_weights``, one for each of ``task.label_names``, make the mean a
    weighted one; they do not say what is hard, but labels that weigh 0 are left out from the start.
    """
    losses = task.negative_log_likelihood(logits, target, label_smoothing=label_smoothing)
    weights = task.label_weights(target, class_weights)
    limit = _hardest(losses, weights.bool(), keep=keep, per_image=per_image)
    if threshold is not None:
        limit = limit.clamp_max(-math.log(threshold))
    return weighted_mean(losses, weights * (losses >= limit))


@torch.no_grad()
def _hardest(losses: Tensor, counted: Tensor, *, keep: float, per_image: bool) -> Tensor:
    """Find the smallest loss that is kept: ``(1, ...)`` or for each image ``(N, 1, ...)``, as many axes as losses."""
    rows = losses.where(counted, -1).flatten(1) if per_image else losses.where(counted, -1).view(1, -1)
    at_most = math.ceil(keep * rows.shape[1])  # known without asking the device how many pixels count
    sorted_losses = rows.topk(at_most, sorted=True).values
    kept = (counted.view_as(rows).sum(1, keepdim=True).double() * keep).ceil().long().clamp_max(at_most)
    return sorted_losses.gather(1, (kept - 1).clamp_min(0)).view(-1, *[1] * (losses.ndim - 1))


class OHEMLoss(PixelwiseLoss):
    """`ohem_loss` with its options, and those of `PixelwiseLoss`."""

    def __init__(
        self,
        task: Task,
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
