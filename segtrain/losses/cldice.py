"""clDice loss: connectivity of thin structures, compared by their soft skeletons (Shit et al. 2021)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.classwise import ClasswiseLoss, pixel_axes
from segtrain.losses.dice import dice_loss
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import EPSILON
from segtrain.losses.regions import Regions, overlap_loss
from segtrain.task import Mode, Task, as_float


@loss_function
def cldice_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    alpha: float = 0.5,
    iterations: int = 5,
    smooth: float = 1.0,
    log: bool = False,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute (1 - alpha) Dice loss + alpha (1 - clDice), the mean over classes (Shit et al. 2021, section 3.2).

    clDice is the harmonic mean of topology precision (share of the predicted skeleton that lies in the
    truth) and topology sensitivity (share of the true skeleton that lies in the prediction). Skeletons
    do not tell the width of a structure, so the paper keeps ``alpha`` up to 1/2. ``iterations`` is the
    radius in pixels of the widest structure that is thinned to a line; ``smooth``, above 0, is added
    to numerator and denominator of both; ``log`` takes -log of both scores, Dice and clDice, instead
    of 1 - score; ``per_image`` scores each image on its own; ``class_weights`` are
    ``(out_channels,)``. A class that the truth does not hold costs the share of valid pixels
    predicted as it, see `score_absent`.
    """
    dice = dice_loss(logits, target, task, log=log, per_image=per_image, class_weights=class_weights)
    probabilities = task.activation(logits)
    truth = task.one_hot(target, probabilities)  # (N, C, H, W), 0 where ignored
    valid = as_float(task.valid(target), probabilities.dtype)  # (N, 1 or C, H, W)
    probabilities = probabilities * valid  # before thinning: lines must not lean on ignored pixels
    over = pixel_axes(per_image=per_image)
    line, true_line = soft_skeleton(probabilities, iterations), soft_skeleton(truth, iterations)
    precision = ((line * truth).sum(over) + smooth) / (line.sum(over) + smooth).clamp_min(EPSILON)
    sensitivity = ((true_line * probabilities).sum(over) + smooth) / (true_line.sum(over) + smooth).clamp_min(EPSILON)
    score = 2 * precision * sensitivity / (precision + sensitivity).clamp_min(EPSILON)  # (C,) or (N, C)
    predicted = probabilities.sum(over)
    # `overlap_loss` reads the three areas alone, for absent classes; the first field is a stand-in.
    regions = Regions(precision, predicted, truth.sum(over), valid.sum(over).expand_as(predicted))
    return (1 - alpha) * dice + alpha * overlap_loss(score, regions, log=log, class_weights=class_weights)


def soft_skeleton(maps: Tensor, iterations: int) -> Tensor:
    """Soft skeleton of maps ``(N, C, H, W)`` with values 0 to 1 (algorithm 1): same shape."""
    skeleton = torch.zeros_like(maps)
    for _ in range(iterations + 1):
        eroded = _erode(maps)
        # What a morphological opening removes is the ridge of structures of this width.
        ridge = (maps - F.max_pool2d(eroded, 3, stride=1, padding=1)).relu()
        skeleton = skeleton + (ridge - skeleton * ridge).relu()  # soft union: stays within 0 to 1
        maps = eroded
    return skeleton


def _erode(maps: Tensor) -> Tensor:
    """Soft erosion: the minimum over each pixel and its four neighbours."""
    negative = -maps
    columns = F.max_pool2d(negative, (3, 1), stride=1, padding=(1, 0))
    rows = F.max_pool2d(negative, (1, 3), stride=1, padding=(0, 1))
    return -torch.maximum(columns, rows)


class CLDiceLoss(ClasswiseLoss):
    """`cldice_loss` with its options, and those of `ClasswiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        alpha: float = 0.5,
        iterations: int = 5,
        smooth: float = 1.0,
        log: bool = False,
        per_image: bool = False,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__(
            task, mode, per_image=per_image, classes=classes, class_weights=class_weights, pixel_counts=pixel_counts
        )
        check_range("alpha", alpha, 0, 1, including_high=True)
        check_range("iterations", iterations, 0, whole=True)
        check_range("smooth", smooth, 0, including_low=False)  # a wide structure has no centre line: 0/0
        self.alpha = alpha
        self.iterations = iterations
        self.smooth = smooth
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return cldice_loss(
            logits,
            target,
            self.task,
            alpha=self.alpha,
            iterations=self.iterations,
            smooth=self.smooth,
            log=self.log,
            **self.shared,
        )
