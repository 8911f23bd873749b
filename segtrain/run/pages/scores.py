"""What a report measured: the sections on scores, classes, confusion, thresholds and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtrain.drawing.charts import Line, bar_chart, line_chart
from segtrain.drawing.page import Cell, Chart, Section, Table
from segtrain.evaluation.reports import Report
from segtrain.metrics import HEADLINES, PER_CLASS, score_intervals
from segtrain.metrics.bootstrap import FEW
from segtrain.run.pages.reading import RunFiles

_CURVES = 12  # classes whose precision and recall are drawn
_POINTS = 150  # of such a curve
_MATRIX = 40  # labels up to which the whole confusion matrix is a table
_CONFUSED = 40  # rows of the table of what was confused most
_NAMES = {"iou": "IoU", "f1": "F1", "iou_imagewise": "image-wise IoU", "iou_micro": "micro IoU"}


def intervals_of(report: Report) -> Mapping[str, Any]:
    """Return the intervals that an evaluation measured; where it measured none, those of its counts."""
    found: Mapping[str, Any] | None = report.scores.get("intervals")
    if found is not None:
        return found
    policy = report.scores["absent_policy"]
    return {"confidence": 0.95, **score_intervals(report.counts, report.class_names, absent=policy)}


def headlines(report: Report, intervals: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the headline numbers of a page, each with its interval."""
    names = ("iou", "iou_imagewise", "f1", "accuracy")
    rows = [(_NAMES.get(name, name), score(report.scores[name]), ends(intervals.get(name))) for name in names]
    if "label_accuracy" in report.scores:
        rows.append(("label accuracy", score(report.scores["label_accuracy"]), ""))
    return rows


def overview(run: RunFiles, report: Report, intervals: Mapping[str, Any]) -> Section:
    """Show all headline scores, those of the other reports of the run, and how they were measured."""
    scores = report.scores
    rows: list[list[Cell | str]] = [
        [_NAMES.get(name, name), score(scores[name]), ends(intervals.get(name))] for name in HEADLINES
    ]
    for key in ("boundary_iou", "surface_hausdorff", "surface_average"):
        if key in scores:
            rows.append([key.replace("_", " "), score(scores[key]["mean"]), ends(intervals.get(key))])
    tables = [Table("Scores", ["score", "value", f"{intervals['confidence']:.0%} interval"], rows)]
    if len(run.scores) > 1:
        columns = ("iou", "iou_imagewise", "f1", "accuracy")
        others: list[list[Cell | str]] = [
            [name, *(score(each.get(key)) for key in columns)] for name, each in run.scores.items()
        ]
        tables.append(Table("All reports of this run", ["report", *columns], others))
    return Section("Scores", words=how(report), tables=tables)


def how(report: Report) -> list[str]:
    """Say of a report how it was scored, in sentences."""
    policy = {"exclude": "left out of means", "one": "counted as 1", "zero": "counted as 0"}
    scores, about = report.scores, report.about
    size = "at its own size" if about.get("at") == "original" else "at the size that the model sees"
    by = "during training" if about.get("command") == "train" else "by segtrain eval"
    absent = ", ".join(scores["absent"]) or "none here"
    few = len(report.ids) < FEW
    return [
        f"{len(report.ids)} images, each scored {size}, {by}. Classes that truth and prediction lack are "
        f"{policy[scores['absent_policy']]}: {absent}.",
        "Intervals are by bootstrap over the images: how scores would vary over other images of this kind, not over "
        "other trainings.",
        *(["The images are few: intervals are too narrow, thresholds and calibration say little."] if few else []),
    ]


def classes(report: Report, intervals: Mapping[str, Any]) -> Section:
    """Show all metrics of each class, and its share of the pixels."""
    pixels = report.counts.total().pixels().tolist()
    per_class = report.scores["per_class"]
    rows: list[list[Cell | str]] = []
    for place, (name, row) in enumerate(per_class.items()):
        found = intervals["per_class"][name]
        cells = [Cell(score(row[key]), row[key], ends(found[key])) for key in PER_CLASS]
        share = row["support"] / pixels[place] if pixels[place] else 0.0
        rows.append([name, *cells, f"{share:.2%}"])
    columns = ["class", *(_NAMES.get(key, key) for key in PER_CLASS), "share of pixels"]
    return Section("Classes", tables=[Table("Each class over all images, with its interval", columns, rows)])


def confusion(run: RunFiles) -> Section | None:
    """Show the confusion matrix by true label; of many labels, what was confused most."""
    header, *rows = run.table("confusion.csv") or [[]]
    if not rows:
        return None
    if header[0] == "class":  # multilabel: a matrix for each class
        cells: list[list[Cell | str]] = [[f"{row[0]}: {row[1]}", *_shares(row[2:])] for row in rows]
        return Section("Confusion", tables=[Table("Predicted, by what is true", ["true", *header[2:]], cells)])
    if len(rows) <= _MATRIX:
        whole: list[list[Cell | str]] = [[row[0], *_shares(row[1:])] for row in rows]
        columns = ["true \\ predicted", *header[1:]]
        return Section("Confusion", tables=[Table("Predicted labels, as shares of each true one", columns, whole)])
    found = [(int(cell), row[0], name) for row in rows for cell, name in zip(row[1:], header[1:], strict=True)]
    most = sorted((each for each in found if each[1] != each[2]), reverse=True)[:_CONFUSED]
    listed = [[true, predicted, f"{pixels:,}"] for pixels, true, predicted in most]
    table = Table(f"The {len(most)} most confused of {len(rows)} labels", ["true", "predicted", "pixels"], listed)
    return Section("Confusion", tables=[table])


def _shares(cells: Sequence[str]) -> list[Cell]:
    pixels = [int(cell) for cell in cells]
    total = sum(pixels)
    return [
        Cell(f"{each / total:.1%}" if total else "", each / total if total else None, f"{each:,}") for each in pixels
    ]


def thresholds(run: RunFiles, report: Report, intervals: Mapping[str, Any]) -> Section | None:
    """Draw precision over recall, and show the threshold that is best for each class."""
    header, *rows = run.table("precision_recall.csv") or [[]]
    found = report.scores.get("thresholds")
    if not rows or not found:
        return None
    known = {name: best for name, best in found.items() if best}
    chosen = sorted(known, key=lambda name: known[name]["average_precision"])[:_CURVES]
    lines = [_curve(name, header, rows) for name in known if name in chosen]
    of = f": the {_CURVES} lowest of {len(known)}" if len(known) > _CURVES else ""
    title = f"Precision and recall{of}"
    whole = (0.0, 1.0)
    svg = line_chart(lines, title=title, across="recall", up="precision", x_ends=whole, y_ends=whole)
    per_class = intervals.get("per_class", {})
    table = [
        [
            name,
            Cell(score(best["average_precision"]), None, ends(per_class.get(name, {}).get("average_precision"))),
            *(score(best[key]) for key in ("threshold", "iou", "f1", "precision", "recall")),
        ]
        for name, best in known.items()
    ]
    columns = ["class", "average precision", "best threshold", "IoU there", "F1", "precision", "recall"]
    words = [
        "A class is predicted above its threshold; the best one has the highest F1, and so the highest IoU. "
        "segtrain eval with eval.calibrate=true keeps thresholds of classes that are decided on their own in the "
        "checkpoint, to be used from then on."
    ]
    tables = [Table("Thresholds", columns, table)]
    return Section("Thresholds", words=words, charts=[Chart(title, svg, lines)], tables=tables)


def _curve(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Line:
    """Return precision over recall of a class, by points that are even along the curve."""
    at = [header.index(f"{what}:{name}") for what in ("recall", "precision")]
    # by the number that a cell holds: NaN where nothing is predicted any more
    table = np.array([[float(row[column] or "nan") for column in at] for row in rows])
    table = table[~np.isnan(table).any(1)]
    length = np.concatenate([[0.0], np.abs(np.diff(table, axis=0)).sum(1).cumsum()])
    grid = np.linspace(0, length[-1], _POINTS)
    kept = np.unique(np.searchsorted(length, grid).clip(0, len(table) - 1))
    return Line(name, [(recall, precision) for recall, precision in table[kept].tolist()])


def calibration(report: Report, intervals: Mapping[str, Any]) -> Section | None:
    """Draw accuracy by confidence, and say how far they are apart."""
    found = report.scores.get("calibration")
    if not found or found["ece"] is None:
        return None
    bins, bars = found["reliability"], []
    for place, row in enumerate(bins):
        low, high = place / len(bins), (place + 1) / len(bins)
        hint = f"confidence {low:.2f} to {high:.2f}: {score(row['accuracy'])} right of {row['decisions']:,} decisions"
        bars.append((low, high, row["accuracy"], hint))
    title = "Share that is right, by confidence"
    svg = bar_chart(bars, title=title, across="confidence", up="accuracy", diagonal=True)
    table = Table(
        "Reliability",
        ["confidence", "decisions", "mean confidence", "accuracy"],
        [
            [f"{low:.2f} to {high:.2f}", f"{row['decisions']:,}", score(row["confidence"]), score(row["accuracy"])]
            for (low, high, _, _), row in zip(bars, bins, strict=True)
        ],
    )
    words = [
        f"Expected calibration error {found['ece']:.4f} {ends(intervals.get('ece'), brackets=True)}: the mean distance "
        "of confidence and accuracy. Bars that end below the dashed line are of a model that is too sure."
    ]
    if found["temperature"] is not None:
        words.append(
            f"Divided by a temperature of {found['temperature']:.3f}, the logits have an error of "
            f"{found['ece_calibrated']:.4f} (on a sample of the pixels); eval.calibrate=true keeps it with the model."
        )
    return Section("Calibration", words=words, charts=[Chart(title, svg, table=table)])


def score(value: float | None) -> str:
    """Write a score; ``absent`` for None."""
    return "absent" if value is None else f"{value:.4f}"


def ends(interval: Sequence[float] | None, *, brackets: bool = False) -> str:
    """Write an interval; nothing for None."""
    if interval is None:
        return ""
    text = f"{interval[0]:.4f} to {interval[1]:.4f}"
    return f"({text})" if brackets else text
