"""Boundary loss (distance of wrong pixels from the true boundary), combined with Dice loss."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.classwise import ClasswiseLoss, class_mean, pixel_axes
from segtrain.losses.dice import dice_loss
from segtrain.losses.distance import distance_to
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.task import Mode, Task, as_float


@loss_function
def boundary_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    alpha: float = 0.5,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute (1 - alpha) Dice loss + alpha boundary loss, the mean over classes (Kervadec et al. 2019, section 2.2).

    The boundary loss is the mean over valid pixels of distance times (p - truth). The distance is
    signed, see `signed_distance`; the paper drops the constant term without p, so its minimum is not
    0. Alone it learns to predict nothing, as missed pixels are nearer to the boundary than background
    is, so the paper too combines it with an overlap loss. ``per_image`` scores each image on its own;
    ``class_weights`` are ``(out_channels,)``. A class that an image does not hold, or that fills it,
    has no boundary: there each wrong pixel is as far away as can be, and costs 1.
    """
    dice = dice_loss(logits, target, task, per_image=per_image, class_weights=class_weights)
    probabilities = task.activation(logits)
    truth = task.one_hot(target, probabilities)
    valid = task.valid(target)
    distance = signed_distance(truth > 0, valid).to(probabilities.dtype)  # (N, C, H, W), -1 to 1
    counts = as_float(valid, probabilities.dtype)  # (N, 1 or C, H, W)
    over = pixel_axes(per_image=per_image)
    costs = ((probabilities - truth) * (distance * counts)).sum(over)  # (C,), per image (N, C)
    area = counts.expand_as(truth).sum(over)  # the same shape
    return (1 - alpha) * dice + alpha * class_mean(costs / area.clamp_min(1), area > 0, class_weights)


@torch.no_grad()
def signed_distance(truth: Tensor, valid: Tensor) -> Tensor:
    """Signed distance of each pixel's centre from the class boundary, as a share of the diagonal.

    Bool maps ``(N, C, H, W)`` and ``(N, 1 or C, H, W)`` become float32 ``(N, C, H, W)``, negative
    inside, and 1 or -1 all over an image without a boundary. Ignored pixels belong to neither side,
    so no boundary runs along them.
    """
    diagonal = math.hypot(*truth.shape[-2:])
    # Infinite where an image lacks the class or its background; the clamp below makes that 1 or -1.
    outside, inside = distance_to(truth), distance_to(valid & ~truth)
    distance = torch.where(truth, 0.5 - inside, outside - 0.5)  # the boundary runs between two pixels
    return distance.clamp(-diagonal, diagonal) / diagonal


class BoundaryLoss(ClasswiseLoss):
    """`boundary_loss` with its options, and those of `ClasswiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        alpha: float = 0.5,
        per_image: bool = False,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__(
            task, mode, per_image=per_image, classes=classes, class_weights=class_weights, pixel_counts=pixel_counts
        )
        check_range("alpha", alpha, 0, 1, including_high=True)
        self.alpha = alpha

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return boundary_loss(logits, target, self.task, alpha=self.alpha, **self.shared)
