"""Reductions of scores to one number: micro, macro or weighted, over the data set or imagewise.

All of them are `class_mean` or `pooled`, of the summed counts or of each image; a perfect
prediction gives 1 in each.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.metrics.rates import Metric, is_absent

Absent: TypeAlias = Literal["exclude", "one", "zero"]
"""How means treat a class that neither truth nor prediction holds: left out, or undefined scores count as 1 or 0."""

Weights: TypeAlias = Sequence[float] | Literal["support"] | None
"""Weights of the classes in a mean: given ones, their pixels in the truth, or the same for all."""


def class_mean(counts: Counts, metric: Metric, *, weights: Weights = None, absent: Absent = "exclude") -> Tensor:
    """Average a score over the classes: counts ``(..., C)`` give float64 ``(...)``.

    Weights are divided by their sum over the classes that count. Where that is 0, as for weights by
    support on an image without truth, all classes weigh the same, so that false positives there
    still cost. NaN where no class counts.
    """
    values = _settle(metric(counts), counts, absent)  # (..., C), as share
    scored = ~values.isnan()
    share = torch.where(scored, _weights(weights, counts), 0.0)
    share = torch.where(share.sum(-1, keepdim=True) > 0, share, scored.double())
    # Filled before the product, as NaN times 0 is NaN.
    return values.masked_fill(share == 0, 0).mul(share).sum(-1) / share.sum(-1)


def pooled(counts: Counts, metric: Metric, *, absent: Absent = "exclude") -> Tensor:
    """Sum the pixels of all classes and score once: counts ``(..., C)`` give float64 ``(...)``."""
    together = counts.over_classes()  # (..., 1)
    return _settle(metric(together), together, absent).squeeze(-1)


def micro(counts: Counts, metric: Metric, *, absent: Absent = "exclude") -> Tensor:
    """Sum the pixels over images and classes, and score once."""
    return pooled(counts.total(), metric, absent=absent)


def macro(counts: Counts, metric: Metric, *, absent: Absent = "exclude") -> Tensor:
    """Score each class over all images, and take the mean over the classes."""
    return class_mean(counts.total(), metric, absent=absent)


def weighted(counts: Counts, metric: Metric, *, weights: Weights = "support", absent: Absent = "exclude") -> Tensor:
    """Score each class over all images, and take the weighted mean over the classes."""
    return class_mean(counts.total(), metric, weights=weights, absent=absent)


def micro_imagewise(counts: Counts, metric: Metric, *, absent: Absent = "exclude") -> Tensor:
    """Sum the pixels of each image over its classes, score it, and take the mean over the images that have a score."""
    return pooled(counts, metric, absent=absent).nanmean()


def macro_imagewise(counts: Counts, metric: Metric, *, absent: Absent = "exclude") -> Tensor:
    """Score each image as the mean over its own classes, and take the mean over the images that have a score.

    By default an image in which every class is absent (nothing to find, nothing found) has none.
    """
    return class_mean(counts, metric, absent=absent).nanmean()


def weighted_imagewise(
    counts: Counts, metric: Metric, *, weights: Weights = "support", absent: Absent = "exclude"
) -> Tensor:
    """Score each image as the weighted mean over its own classes, and take the mean over the images that have a score.

    Support is that within the image.
    """
    return class_mean(counts, metric, weights=weights, absent=absent).nanmean()


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "micro": micro,
    "macro": macro,
    "weighted": weighted,
    "micro_imagewise": micro_imagewise,
    "macro_imagewise": macro_imagewise,
    "weighted_imagewise": weighted_imagewise,
}
"""Every reduction, by the name that users type."""


def _settle(values: Tensor, counts: Counts, absent: Absent) -> Tensor:
    """Fill in undefined scores by the ``absent`` rule; a class whose pixels are all ignored stays NaN."""
    if absent == "exclude":
        return values.masked_fill(is_absent(counts), torch.nan)
    return values.masked_fill(values.isnan() & (counts.pixels() > 0), {"one": 1.0, "zero": 0.0}[absent])


def _weights(weights: Weights, counts: Counts) -> Tensor:
    """Class weights as float64 that broadcasts with scores ``(..., C)``."""
    if weights is None:
        return torch.ones((), dtype=torch.float64, device=counts.tp.device)
    if weights == "support":
        return counts.support().double()
    given = torch.as_tensor(weights, dtype=torch.float64, device=counts.tp.device)
    if given.shape != counts.tp.shape[-1:] or (given < 0).any() or not given.any():
        raise ValueError(f"weights are {list(weights)}, expected {counts.tp.shape[-1]}, none negative and not all 0")
    return given
