"""How often each training image is drawn in an epoch."""

import numpy as np
from numpy.typing import NDArray

from segtrain.data.sample import Source
from segtrain.errors import ConfigError, DataError

AT_ONCE = 4
"""Blocks that are read at a time: shards of 256 MB then fill no more than 1 GB of the system's file cache."""


def given_weights(source: Source) -> NDArray[np.float64]:
    """Return the weights ``(N,)`` that a source gives its samples; raises `SegtrainError` for what is none."""
    if source.weights is None:
        raise ConfigError(
            "data.sampling=weighted: this data gives no weights for its images, expected one each; choose "
            "data.sampling=class_balanced or uniform"
        )
    weights = np.asarray(source.weights, dtype=np.float64)
    if weights.shape != (len(source),):
        raise DataError(f"data: {len(weights)} weights for {len(source)} images, expected one each; correct them")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        name, weight = source.ids[wrong[0]], weights[wrong[0]]
        raise DataError(f"{name}: its weight is {weight}, expected a number of 0 or more; correct it")
    return weights


def require_some(weights: NDArray[np.float64], sampling: str) -> NDArray[np.float64]:
    """Return weights unless all are 0, so that nothing could be drawn: raises `DataError`."""
    if not weights.any():
        raise DataError(
            f"data.sampling={sampling}: no image is to be drawn, expected one of a weight above 0 with a labelled "
            "pixel; correct the data, or choose data.sampling=uniform"
        )
    return weights


def drawn(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many indices as there are weights, shuffled, each as often as its weight says, rounded up or down.

    Systematic sampling: on average exact, and with far less noise than independent draws, which leave
    out a third of the images even if all weights are equal.
    """
    length = len(weights)
    steps = np.cumsum(weights / weights.sum()) * length  # (N,): ends at N
    last = np.flatnonzero(weights)[-1]  # rounding could leave the last step below N
    order: NDArray[np.int64] = np.minimum(np.searchsorted(steps, np.arange(length) + rng.random(), side="right"), last)
    rng.shuffle(order)
    return order


def gathered(order: NDArray[np.int64], blocks: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrange a shuffled order of indices by the blocks that they lie in: `AT_ONCE` blocks after others, shuffled.

    ``blocks`` is the block of each index, ``(N,)``. Which blocks come together is drawn anew; within them
    the order is as it was. No more blocks than that leave it as it is.
    """
    turn = rng.permutation(int(blocks.max()) + 1) // AT_ONCE  # when each block has its turn
    arranged: NDArray[np.int64] = order[np.argsort(turn[blocks[order]], kind="stable")]
    return arranged


def repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for each entry, how often the same value stands before it."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # where a value begins
    counts = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    result = np.empty_like(counts)
    result[by_value] = counts
    return result
