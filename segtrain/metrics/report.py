"""The scores of a split as plain numbers, for scores.json and for tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.metrics.rates import Metric, accuracy, f1, iou, is_absent, pixel_accuracy, precision, recall
from segtrain.metrics.reductions import Absent, macro, macro_imagewise, micro

PER_CLASS: dict[str, Metric] = {"iou": iou, "f1": f1, "precision": precision, "recall": recall, "accuracy": accuracy}
"""The metrics in the table of classes of each split."""


def scores(counts: Counts, class_names: Sequence[str] | None = None, *, absent: Absent = "exclude") -> dict[str, Any]:
    """Compute the scores of a split, its entry in ``scores.json``, from counts ``(N, C)``.

    - ``iou``, ``f1``, ``precision``, ``recall``: `macro`, which for a binary task is the foreground's
    - ``iou_imagewise``, ``iou_micro``: `macro_imagewise` and `micro`
    - ``accuracy``: `pixel_accuracy` over all images
    - ``absent``: names of the classes that neither truth nor prediction holds; ``absent_policy``:
      how means treat them
    - ``per_class``: by name the five metrics of each class, and ``support``, its pixels in the truth

    Without ``class_names`` classes go by their number. Raises ValueError if there are too few or
    many names. Plain floats, integers and strings; None where there is nothing to score, so that
    strict JSON takes it.
    """
    counts = counts.cpu()
    classes = counts.tp.shape[-1]
    class_names = [str(number) for number in range(classes)] if class_names is None else class_names
    if len(class_names) != classes:
        raise ValueError(f"class_names: {len(class_names)} names for {classes} classes, expected one for each")
    total = counts.total()
    return {
        "iou": _plain(macro(counts, iou, absent=absent)),
        "iou_imagewise": _plain(macro_imagewise(counts, iou, absent=absent)),
        "iou_micro": _plain(micro(counts, iou, absent=absent)),
        "f1": _plain(macro(counts, f1, absent=absent)),
        "precision": _plain(macro(counts, precision, absent=absent)),
        "recall": _plain(macro(counts, recall, absent=absent)),
        "accuracy": _plain(pixel_accuracy(total)),
        "absent": [name for name, gone in zip(class_names, is_absent(total).tolist(), strict=True) if gone],
        "absent_policy": absent,
        "per_class": per_class(total, class_names),
    }


def per_class(
    total: Counts, class_names: Sequence[str], metrics: Mapping[str, Metric] = PER_CLASS
) -> dict[str, dict[str, float | int | None]]:
    """Metrics of each class, None where undefined or infinite, and its support in pixels; counts are ``(C,)``."""
    columns: dict[str, list[Any]] = {name: [_plain(x) for x in metric(total)] for name, metric in metrics.items()}
    columns["support"] = total.support().tolist()
    rows = zip(*columns.values(), strict=True)  # from one list per metric to one row per class
    return {name: dict(zip(columns, row, strict=True)) for name, row in zip(class_names, rows, strict=True)}


def _plain(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None  # strict JSON knows neither NaN nor infinity
