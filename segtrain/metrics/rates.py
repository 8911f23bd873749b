"""Scores as pure functions of counts: float64, in the counts' shape; the first line of each states its definition.

The class is the positive, the rest the negative. 0/0 is one of two things:

- The class is *absent*: neither the truth nor the prediction holds a pixel of it. Its score is
  undefined, NaN, and the reductions decide what it counts as. Scores of the negatives are undefined
  where the rest is absent.
- The class is in the truth or in the prediction alone: all of it is wrong, and the ratio is 0, such
  as the precision of a class that is never predicted; error rates are 1 minus such a ratio, and so
  1.

Names follow Fawcett, An introduction to ROC analysis (2006), where no other source is given.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from segtrain.metrics.counts import Counts

Metric: TypeAlias = Callable[[Counts], Tensor]


def is_absent(counts: Counts) -> Tensor:
    """Tell which classes neither the truth nor the prediction holds: bool."""
    return counts.tp + counts.fp + counts.fn == 0


def _ratio(part: Tensor, whole: Tensor, counts: Counts) -> Tensor:
    ratio = part.double() / whole.clamp_min(1).double()  # whole numbers: only 0 is changed, and 0/1 is 0
    return ratio.masked_fill(is_absent(counts), torch.nan)


def iou(counts: Counts) -> Tensor:
    """Intersection over union, tp / (tp + fp + fn) (Jaccard 1912; Everingham et al. 2010, section 4.1)."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def f1(counts: Counts) -> Tensor:
    """F1, that is Dice: 2 tp / (2 tp + fp + fn) (Dice 1945)."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts)


def fbeta(counts: Counts, *, beta: float = 2.0) -> Tensor:
    """F beta, (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp): recall matters b times as much (van Rijsbergen 1979)."""
    found, missed, invented = (1 + beta**2) * counts.tp.double(), beta**2 * counts.fn.double(), counts.fp.double()
    whole = found + missed + invented  # no whole number, so `_ratio` with its bound of 1 does not do
    return torch.where(whole > 0, found / whole, 0).masked_fill(is_absent(counts), torch.nan)


def precision(counts: Counts) -> Tensor:
    """Precision or positive predictive value, tp / (tp + fp)."""
    return _ratio(counts.tp, counts.tp + counts.fp, counts)


def recall(counts: Counts) -> Tensor:
    """Recall, sensitivity or true positive rate, tp / (tp + fn)."""
    return _ratio(counts.tp, counts.tp + counts.fn, counts)


def specificity(counts: Counts) -> Tensor:
    """Specificity or true negative rate, tn / (tn + fp)."""
    return recall(counts.of_rest())


def negative_predictive_value(counts: Counts) -> Tensor:
    """Negative predictive value, tn / (tn + fn) (Altman and Bland 1994)."""
    return precision(counts.of_rest())


def false_negative_rate(counts: Counts) -> Tensor:
    """False negative or miss rate, fn / (fn + tp) = 1 - recall."""
    return 1 - recall(counts)


def false_positive_rate(counts: Counts) -> Tensor:
    """False positive rate or fall-out, fp / (fp + tn) = 1 - specificity."""
    return 1 - specificity(counts)


def false_discovery_rate(counts: Counts) -> Tensor:
    """False discovery rate, fp / (fp + tp) = 1 - precision (Benjamini and Hochberg 1995)."""
    return 1 - precision(counts)


def false_omission_rate(counts: Counts) -> Tensor:
    """False omission rate, fn / (fn + tn) = 1 - negative predictive value."""
    return 1 - negative_predictive_value(counts)


def positive_likelihood_ratio(counts: Counts) -> Tensor:
    """Positive likelihood ratio, recall / (1 - specificity) (Deeks, Altman 2004).

    Infinite without false positives, and undefined, NaN, if the class is never predicted.
    """
    return recall(counts) / false_positive_rate(counts)


def negative_likelihood_ratio(counts: Counts) -> Tensor:
    """Negative likelihood ratio, (1 - recall) / specificity (Deeks, Altman 2004).

    Infinite where specificity is 0, and undefined, NaN, if nothing but the class is predicted.
    """
    return false_negative_rate(counts) / specificity(counts)


def accuracy(counts: Counts) -> Tensor:
    """Share of pixels on which class and rest are told apart, (tp + tn) / all; NaN without pixels."""
    right = (counts.tp + counts.tn).double()
    return right / counts.pixels()


def balanced_accuracy(counts: Counts) -> Tensor:
    """Balanced accuracy, (recall + specificity) / 2 (Brodersen et al. 2010)."""
    return (recall(counts) + specificity(counts)) / 2


def mcc(counts: Counts) -> Tensor:
    """Matthews correlation, (tp tn - fp fn) / sqrt((tp+fp) (tp+fn) (tn+fp) (tn+fn)) (Matthews 1975).

    0/0 is 1 where everything is right, -1 where everything is wrong and 0 otherwise (Chicco and Jurman 2020).
    """
    tp, fp, fn, tn = _as_doubles(counts)
    scale = ((tp + fp) * (tp + fn)).sqrt() * ((tn + fp) * (tn + fn)).sqrt()  # exact for a perfect prediction
    # 1 if all is right, -1 if all is wrong, else 0.
    limit = (tp + tn > 0).double() - (fp + fn > 0).double()
    return torch.where(scale > 0, (tp * tn - fp * fn) / scale, limit).masked_fill(is_absent(counts), torch.nan)


def cohen_kappa(counts: Counts) -> Tensor:
    """Cohen's kappa, 2 (tp tn - fp fn) / ((tp+fp) (fp+tn) + (tp+fn) (fn+tn)), agreement beyond chance (Cohen 1960).

    0/0, where truth and prediction hold nothing but the class, is 1.
    """
    tp, fp, fn, tn = _as_doubles(counts)
    scale = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    kappa = torch.where(scale > 0, 2 * (tp * tn - fp * fn) / scale, 1.0)
    return kappa.masked_fill(is_absent(counts), torch.nan)


def _as_doubles(counts: Counts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Widen before multiplying: products of pixel counts do not fit into an int64."""
    return counts.tp.double(), counts.fp.double(), counts.fn.double(), counts.tn.double()


def pixel_accuracy(counts: Counts) -> Tensor:
    """Share of labels predicted right, correct / decided: over all classes together, without the class axis."""
    return counts.correct.double() / counts.decided


METRICS: dict[str, Metric] = {
    "iou": iou,
    "f1": f1,
    "dice": f1,
    "f2": fbeta,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "precision": precision,
    "ppv": precision,
    "recall": recall,
    "sensitivity": recall,
    "specificity": specificity,
    "npv": negative_predictive_value,
    "fnr": false_negative_rate,
    "fpr": false_positive_rate,
    "fdr": false_discovery_rate,
    "for": false_omission_rate,
    "lr+": positive_likelihood_ratio,
    "lr-": negative_likelihood_ratio,
    "mcc": mcc,
    "cohen_kappa": cohen_kappa,
}
"""Every score of a class, by the name that users type."""
