"""Segmentation metrics from pixel counts: count each batch, sum or concatenate, score once at the end.

Score a data set with any metric and reduction, ``macro(counts, iou)``, or in one go with `scores`.
"""

from segtrain.metrics.agreement import matrix_kappa, matrix_mcc
from segtrain.metrics.bootstrap import HEADLINES, paired_differences, score_intervals
from segtrain.metrics.border import count_by_distance
from segtrain.metrics.boundary import count_boundary
from segtrain.metrics.calibration import Calibration, CalibrationScores, ReliabilityBin
from segtrain.metrics.counting import confusion, count
from segtrain.metrics.counts import Counts
from segtrain.metrics.curves import BestThreshold, Curves, PrecisionRecall
from segtrain.metrics.objects import Objects, object_ious
from segtrain.metrics.rates import (
    METRICS,
    Metric,
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    f1,
    false_discovery_rate,
    false_negative_rate,
    false_omission_rate,
    false_positive_rate,
    fbeta,
    iou,
    is_absent,
    mcc,
    negative_likelihood_ratio,
    negative_predictive_value,
    pixel_accuracy,
    positive_likelihood_ratio,
    precision,
    recall,
    specificity,
)
from segtrain.metrics.reductions import (
    REDUCTIONS,
    Absent,
    Weights,
    class_mean,
    macro,
    macro_imagewise,
    micro,
    micro_imagewise,
    pooled,
    weighted,
    weighted_imagewise,
)
from segtrain.metrics.report import PER_CLASS, per_class, scores
from segtrain.metrics.surface import SurfaceDistances, surface_distances
from segtrain.task import require_labels

__all__ = [
    "HEADLINES",
    "METRICS",
    "PER_CLASS",
    "REDUCTIONS",
    "Absent",
    "BestThreshold",
    "Calibration",
    "CalibrationScores",
    "Counts",
    "Curves",
    "Metric",
    "Objects",
    "PrecisionRecall",
    "ReliabilityBin",
    "SurfaceDistances",
    "Weights",
    "accuracy",
    "balanced_accuracy",
    "class_mean",
    "cohen_kappa",
    "confusion",
    "count",
    "count_boundary",
    "count_by_distance",
    "f1",
    "false_discovery_rate",
    "false_negative_rate",
    "false_omission_rate",
    "false_positive_rate",
    "fbeta",
    "iou",
    "is_absent",
    "macro",
    "macro_imagewise",
    "matrix_kappa",
    "matrix_mcc",
    "mcc",
    "micro",
    "micro_imagewise",
    "negative_likelihood_ratio",
    "negative_predictive_value",
    "object_ious",
    "paired_differences",
    "per_class",
    "pixel_accuracy",
    "pooled",
    "positive_likelihood_ratio",
    "precision",
    "recall",
    "require_labels",
    "score_intervals",
    "scores",
    "specificity",
    "surface_distances",
    "weighted",
    "weighted_imagewise",
]
