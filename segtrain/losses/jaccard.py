"""Jaccard (IoU) loss on soft areas."""

from torch import Tensor, nn

from segtrain.losses.options import check_range
from segtrain.losses.precision import full_precision
from segtrain.losses.regions import EPSILON, overlap_loss, soft_regions
from segtrain.task import Task


@full_precision
def jaccard_loss(
    logits: Tensor, target: Tensor, task: Task, *, smooth: float = 0.0, per_image: bool = False, log: bool = False
) -> Tensor:
    """Compute 1 - |P T| / |P or T|, the mean over classes (Rahman and Wang 2016, section 3).

    ``smooth`` pixels are added to intersection and union; ``per_image`` scores each image on its own instead of the
    batch as one; ``log`` takes -log of the score instead of 1 - score. A class that the truth does not hold costs the
    share of valid pixels predicted as it, see `overlap_loss`.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    union = regions.predicted + regions.true - regions.overlap
    score = (regions.overlap + smooth) / (union + smooth).clamp_min(EPSILON)
    return overlap_loss(score, regions, log=log)


class JaccardLoss(nn.Module):
    """`jaccard_loss` with its options."""

    def __init__(self, task: Task, *, smooth: float = 0.0, per_image: bool = False, log: bool = False) -> None:
        super().__init__()
        check_range("smooth", smooth, 0)
        self.task = task
        self.smooth = smooth
        self.per_image = per_image
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return jaccard_loss(logits, target, self.task, smooth=self.smooth, per_image=self.per_image, log=self.log)
