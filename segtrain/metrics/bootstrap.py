"""Bootstrap confidence intervals over images, for one model and for the difference of two (Efron 1979).

A replicate is as many images as there are, drawn with replacement, and scored as the data set
itself would be. Percentiles of the replicates' scores are the interval (Efron and Tibshirani 1993,
chapter 13). It tells how a score would vary over other images of the same kind, not over other
trainings of the model.

A class that is absent from a replicate is undefined there: means treat it by the same ``absent``
rule as for the data set, and the interval of the class itself is that of the replicates which hold
it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from segtrain.metrics.counting import count_values
from segtrain.metrics.counts import Counts
from segtrain.metrics.rates import f1, iou, pixel_accuracy, precision, recall
from segtrain.metrics.reductions import Absent, class_mean, pooled
from segtrain.metrics.report import PER_CLASS

HEADLINES = ("iou", "iou_imagewise", "iou_micro", "f1", "precision", "recall", "accuracy")
"""The headline scores of a data set, by their names in `scores`."""

FEW = 20
"""Number of images below which percentile intervals are clearly too narrow."""

_AT_ONCE = 2**22  # weights of images that are held at once: 32 MiB
_DIGITS = 12  # decimals of a difference: beyond them is the rounding of sums, not a change
T = TypeVar("T")


def score_intervals(
    counts: Counts,
    class_names: Sequence[str],
    *,
    absent: Absent = "exclude",
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals ``[low, high]`` of each headline score, and under ``per_class`` of each class's metrics.

    Counts are ``(N, C)``. None where there is nothing to score. The same seed gives the same intervals,
    and the state of torch's global generators is left as it is.
    """
    scorer = _Scorer(counts, class_names, absent)
    ends = bootstrap(scorer, len(counts.tp), replicates=replicates, confidence=confidence, seed=seed)
    return _by_name(ends, class_names)


def bootstrap(
    statistic: Callable[[Tensor], Tensor], images: int, *, replicates: int, confidence: float, seed: int = 0
) -> list[list[float] | None]:
    """Interval ``[low, high]`` of each number of a statistic, None where it is NaN in all replicates.

    The statistic maps how often each image is drawn, float64 ``(B, images)``, to ``(B, numbers)``.
    """
    drawn = torch.cat([statistic(weights) for weights in _resample(images, replicates, seed)])
    return _intervals(drawn, confidence)


def paired_differences(
    a: Counts,
    b: Counts,
    class_names: Sequence[str],
    *,
    absent: Absent = "exclude",
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two models on the same images, in the same order: laid out as `score_intervals`, each entry a mapping of

    - ``a``, ``b``, ``difference``: both scores, and b - a
    - ``interval``: ``[low, high]`` of the difference; each replicate draws the same images for both
    - ``p``: two-sided, the level at which that interval would begin to include 0. Of B replicates
      k is the number with a difference <= 0, or that with one >= 0, whichever is smaller; then p is
      min(1, 2 (k + 1) / (B + 1)), and so never 0 (Efron and Tibshirani 1993, section 15.4; Davison
      and Hinkley 1997, section 4.2)

    Counts are ``(N, C)``; raises ValueError where the two differ in shape. None where there is
    nothing to score.
    """
    if a.tp.shape != b.tp.shape:
        raise ValueError(f"a has counts of shape {tuple(a.tp.shape)}, b {tuple(b.tp.shape)}, expected the same images")
    images = len(a.tp)
    scorers = [_Scorer(counts, class_names, absent) for counts in (a, b)]
    every_image_once = torch.ones(1, images, dtype=torch.float64)
    values = [scorer(every_image_once)[0] for scorer in scorers]
    # Pairing takes out the variance between images that both models find hard.
    pairs = ([scorer(weights) for scorer in scorers] for weights in _resample(images, replicates, seed))
    drawn = torch.cat([after - before for before, after in pairs]).round(decimals=_DIGITS)
    difference = (values[1] - values[0]).round(decimals=_DIGITS)
    columns = {
        "a": _plain(values[0]),
        "b": _plain(values[1]),
        "difference": _plain(difference),
        "interval": _intervals(drawn, confidence),
        "p": _plain(_p_values(drawn)),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _by_name(rows, class_names)


class _Scorer:
    """Scores weighted samples of the same images: weights ``(B, N)`` give float64 ``(B, headlines + C * metrics)``."""

    def __init__(self, counts: Counts, class_names: Sequence[str], absent: Absent) -> None:
        if len(class_names) != counts.tp.shape[-1]:
            raise ValueError(f"{len(class_names)} class names for counts of {counts.tp.shape[-1]} classes")
        counts = counts.cpu()
        self.absent = absent
        self.counts = counts.map(Tensor.double)  # sums of pixels are exact in it up to 2^53
        self.images = class_mean(counts, iou, absent=absent)

    def __call__(self, weights: Tensor) -> Tensor:
        total = self.counts.map(lambda pixels: (weights @ pixels).long())  # (B, C), and (B,) of all labels
        headlines = {
            "iou": class_mean(total, iou, absent=self.absent),
            "iou_imagewise": weights @ self.images.nan_to_num() / (weights @ (~self.images.isnan()).double()),
            "iou_micro": pooled(total, iou, absent=self.absent),
            "f1": class_mean(total, f1, absent=self.absent),
            "precision": class_mean(total, precision, absent=self.absent),
            "recall": class_mean(total, recall, absent=self.absent),
            "accuracy": pixel_accuracy(total),
        }
        classes = torch.stack([metric(total) for metric in PER_CLASS.values()], -1)
        return torch.cat([torch.stack([headlines[name] for name in HEADLINES], -1), classes.flatten(1)], 1)


def _resample(images: int, replicates: int, seed: int) -> Iterator[Tensor]:
    """Yield how often each image is drawn, float64 ``(B, images)``, in blocks of replicates.

    Raises ValueError where there is nothing to draw.
    """
    if images < 1 or replicates < 1:
        raise ValueError(f"{replicates} replicates of {images} images, expected at least one of each")
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _AT_ONCE // images)
    for start in range(0, replicates, at_once):
        rows = torch.arange(min(at_once, replicates - start)).unsqueeze(1)
        drawn = torch.randint(images, (len(rows), images), generator=generator)
        # Each replicate counts in a range of values of its own, so that one histogram does for the
        # block.
        yield count_values((drawn + rows * images).flatten(), drawn.numel()).view_as(drawn).double()


def _intervals(drawn: Tensor, confidence: float) -> list[list[float] | None]:
    """Percentile interval of each column of ``(B, columns)``, None where no replicate has a value.

    Raises ValueError for a ``confidence`` that is no share between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1, such as 0.95")
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    # column by column: torch's quantile refuses tensors of more than 16 million
    ends = [column.nanquantile(tails) for column in drawn.unbind(1)]
    return [None if pair.isnan().any() else pair.tolist() for pair in ends]


def _p_values(drawn: Tensor) -> Tensor:
    defined = (~drawn.isnan()).sum(0)
    # NaN compares as false on both sides, so that undefined replicates count on neither.
    fewer = torch.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))
    return (2 * (fewer + 1).double() / (defined + 1)).clamp_max(1).masked_fill(defined == 0, torch.nan)


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _by_name(cells: Sequence[T], class_names: Sequence[str]) -> dict[str, Any]:
    """Name the columns of a `_Scorer`: headlines first, then class by class its metrics."""
    rest = iter(cells)
    headlines = {name: next(rest) for name in HEADLINES}
    per_class = {name: {metric: next(rest) for metric in PER_CLASS} for name in class_names}
    return {**headlines, "per_class": per_class}
