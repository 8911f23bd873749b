"""Tversky loss, which weighs false positives and false negatives separately, and focal Tversky loss."""

from collections.abc import Sequence

from torch import Tensor

from segtrain.errors import ConfigError
from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.classwise import ClasswiseLoss, class_mean
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import EPSILON
from segtrain.losses.regions import Regions, overlap_loss, score_absent, shortfall, soft_regions
from segtrain.task import Mode, Task


def _tversky_index(regions: Regions, *, alpha: float, beta: float, smooth: float) -> Tensor:
    false_positives = regions.predicted - regions.overlap
    false_negatives = regions.true - regions.overlap
    # All areas are (C,) or (N, C).
    whole = regions.overlap + alpha * false_positives + beta * false_negatives
    return (regions.overlap + smooth) / (whole + smooth).clamp_min(EPSILON)


def _check_options(*, alpha: float, beta: float, smooth: float) -> None:
    for option, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        check_range(option, value, 0)
    if alpha == beta == 0:
        raise ConfigError("loss.beta: 0 beside loss.alpha=0, where nothing costs anything; set loss.beta=0.7")


@loss_function
def tversky_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 0.0,
    log: bool = False,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute 1 - TP / (TP + alpha FP + beta FN) on soft areas, the mean over classes (Salehi et al. 2017, equation 4).

    1/2 and 1/2 is Dice, 1 and 1 is Jaccard; the default favours recall over precision. ``smooth``
    pixels are added to numerator and denominator; ``log`` takes -log of the score instead of 1 -
    score; ``per_image`` scores each image on its own; ``class_weights`` are ``(out_channels,)``. A
    class that the truth does not hold costs the share of valid pixels predicted as it, see
    `score_absent`.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    index = _tversky_index(regions, alpha=alpha, beta=beta, smooth=smooth)
    return overlap_loss(index, regions, log=log, class_weights=class_weights)


@loss_function
def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    gamma: float = 1.333333,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 0.0,
    log: bool = False,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute the mean over classes of (1 - Tversky index)^(1 / gamma) (Abraham and Khan 2018, equation 5).

    A ``gamma`` above 1 has larger gradients for classes that are nearly right. ``alpha`` weighs false
    positives and ``beta`` false negatives, as in `tversky_loss`; the paper swaps the letters, and has
    these defaults. ``log`` takes (-log index)^(1 / gamma): with alpha and beta of 1/2 the Dice part of
    the exponential logarithmic loss (Wong et al. 2018), whose own gamma is the exponent itself, so that
    its 0.3 is a ``gamma`` of 3.333333.
    """
    regions = soft_regions(logits, target, task, per_image=per_image)
    index = score_absent(_tversky_index(regions, alpha=alpha, beta=beta, smooth=smooth), regions)
    missing = shortfall(index, log=log).clamp_min(EPSILON)  # the gradient of a root is infinite at 0
    return class_mean(missing.pow(1 / gamma), regions.valid > 0, class_weights)


class TverskyLoss(ClasswiseLoss):
    """`tversky_loss` with its options, and those of `ClasswiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
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
        _check_options(alpha=alpha, beta=beta, smooth=smooth)
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return tversky_loss(
            logits,
            target,
            self.task,
            alpha=self.alpha,
            beta=self.beta,
            smooth=self.smooth,
            log=self.log,
            **self.shared,
        )


class FocalTverskyLoss(ClasswiseLoss):
    """`focal_tversky_loss` with its options, and those of `ClasswiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        gamma: float = 1.333333,
        alpha: float = 0.3,
        beta: float = 0.7,
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
        check_range("gamma", gamma, 1)
        _check_options(alpha=alpha, beta=beta, smooth=smooth)
        self.gamma = gamma
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth
        self.log = log

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return focal_tversky_loss(
            logits,
            target,
            self.task,
            gamma=self.gamma,
            alpha=self.alpha,
            beta=self.beta,
            smooth=self.smooth,
            log=self.log,
            **self.shared,
        )
