"""Dice loss on soft areas."""

from torch import Tensor, nn

from segtrain.losses.options import check_range
from segtrain.losses.precision import full_precision
from segtrain.losses.regions import EPSILON, overlap_loss, soft_regions
from segtrain.task import Task


@full_precision
def dice_loss(
    logits: Tensor, target: Tensor, task: Task, *, smooth: float = 0.0, per_image: bool = False, log: bool = False
) -> Tensor:
    """Compute 1 - 2 |P T| / (|P| + |T|), the mean over classes (Drozdzal et al. 2016, skip connections, section 3).

    Areas are sums of probabilities, not of their squares as in V-Net. ``smooth`` pixels are added to the overlap and to
    the mean of both areas; ``per_image`` scores each image on its own instead of the batch as one; ``log`` takes -log
    of the score instead of 1 - score. A class that the truth does not hold costs the share of valid pixels predicted
    as it, see `overlap_loss`.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    mean_area = (regions.predicted + regions.true) / 2
    score = (regions.overlap + smooth) / (mean_area + smooth).clamp_min(EPSILON)
    return overlap_loss(score, regions, log=log)


class DiceLoss(nn.Module):
    """`dice_loss` with its options."""

    def __init__(self, task: Task, *, smooth: float = 0.0, per_image: bool = False, log: bool = False) -> None:
        super().__init__()
        check_range("smooth", smooth, 0)
        self.task = task
        self.smooth = smooth
        self.per_image = per_image
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return dice_loss(logits, target, self.task, smooth=self.smooth, per_image=self.per_image, log=self.log)
