"""The mean over pixels that count."""

import torch
from torch import Tensor

from segtrain.task import as_float

EPSILON = 1e-7
"""Keeps divisions, roots and logarithms finite; far below the area of one pixel."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Take the mean weighted by bool or float ``weights`` of the same shape.

    Gives 0 with a gradient of 0 where all weights are 0.
    """
    if weights.dtype == torch.bool:  # on the CPU float times bool is far slower than float times float
        weights = as_float(weights, losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp_min(EPSILON)
