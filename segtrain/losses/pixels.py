"""The mean over pixels that count."""

from torch import Tensor

EPSILON = 1e-7
"""Keeps divisions, roots and logarithms finite; far below the area of one pixel."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Take the mean weighted by bool or float ``weights`` of the same shape.

    Gives 0 with a gradient of 0 where all weights are 0.
    """
    weights = weights.to(losses.dtype)  # on the CPU float times bool is far slower than float times float
    return (losses * weights).sum() / weights.sum().clamp_min(EPSILON)
