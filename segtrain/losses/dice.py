"""Soft Dice loss."""

from collections.abc import Sequence

from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.classwise import ClasswiseLoss
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import EPSILON
from segtrain.losses.regions import overlap_loss, soft_regions
from segtrain.task import Mode, Task


@loss_function
def dice_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    smooth: float = 0.0,
    log: bool = False,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute 1 - 2 |P T| / (|P| + |T|), the mean over classes (Drozdzal et al. 2016, skip connections, section 3).

    Areas are sums of probabilities, not of their squares as in V-Net. ``smooth`` pixels are added to the overlap and to
    the mean of both areas; ``log`` takes -log of the score instead of 1 - score; ``per_image`` scores each image on its
    own instead of the batch as one; ``class_weights`` are ``(out_channels,)``. A class that the truth does not hold
    costs the share of valid pixels predicted as it, see `score_absent`.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    mean_area = (regions.predicted + regions.true) / 2
    score = (regions.overlap + smooth) / (mean_area + smooth).clamp_min(EPSILON)  # (C,) or (N, C)
    return overlap_loss(score, regions, log=log, class_weights=class_weights)


class DiceLoss(ClasswiseLoss):
    """`dice_loss` with its options, and those of `ClasswiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        smooth: float = 0.0,
        log: bool = False,
        per_image: bool = False,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__(
            task, mode, per_image=per_image, classes=classes, class_weights=class_weights, pixel_counts=pixel_counts
        )
        check_range("smooth", smooth, 0)
        self.smooth = smooth
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return dice_loss(logits, target, self.task, smooth=self.smooth, log=self.log, **self.shared)
