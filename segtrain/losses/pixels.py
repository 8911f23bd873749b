"""The mean over pixels that count."""

from torch import Tensor

from segtrain.losses.regions import EPSILON


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Take the mean weighted by bool or float ``weights`` of the same shape.

    Gives 0 with a gradient of 0 where all weights are 0.
    """
    weights = weights.to(losses.dtype)  # on the CPU float times bool is far slower than float times float
    return (losses * weights).sum() / weights.sum().clamp_min(EPSILON)
