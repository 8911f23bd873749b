"""Soft Jaccard (IoU) loss."""

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
def jaccard_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    smooth: float = 0.0,
    log: bool = False,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute 1 - |P T| / |P or T|, the mean over classes (Rahman and Wang 2016, section 3).

    ``smooth`` pixels are added to intersection and union; ``log`` takes -log of the score instead of 1 - score;
    ``per_image`` scores each image on its own instead of the batch as one; ``class_weights`` are ``(out_channels,)``. A
    class that the truth does not hold costs the share of valid pixels predicted as it, see `score_absent`.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    union = regions.predicted + regions.true - regions.overlap
    score = (regions.overlap + smooth) / (union + smooth).clamp_min(EPSILON)  # (C,) or (N, C)
    return overlap_loss(score, regions, log=log, class_weights=class_weights)


class JaccardLoss(ClasswiseLoss):
    """`jaccard_loss` with its options, and those of `ClasswiseLoss`."""

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
        return jaccard_loss(logits, target, self.task, smooth=self.smooth, log=self.log, **self.shared)
