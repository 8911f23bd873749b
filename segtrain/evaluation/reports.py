"""Report folders: the scores of one split as JSON, CSV and PNG files, read by `segtrain compare`."""

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.drawing.pictures import stack
from segtrain.drawing.plots import confusion_picture
from segtrain.errors import DataError, Problems
from segtrain.metrics import METRICS, REDUCTIONS, Counts, class_mean, f1, iou
from segtrain.storage import read_text, write_picture, write_table, write_text
from segtrain.task import Mode, Task

SPLITS_FOLDER = "eval"
"""The folder of the reports in a run folder."""
_SPLITS = ("test", "val", "train")  # in the order that compare prefers
REPORT = "report.json"
IMAGES = "images.csv"
_FEW_OF = 10  # warned of if one in ten images holds more than half of the pixels
_LEAST_IMAGES = 3
_COUNTED = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True, eq=False)
class Report:
    """The scores of one split.

    ``counts`` are ``(N, C)`` on the CPU, in the order of ``ids``. ``scores`` are those of
    `metrics.scores` and the optional measures. ``about`` says where they are from: the command, the
    split, the size scored at, the paths.
    """

    mode: Mode
    class_names: tuple[str, ...]
    ids: tuple[str, ...]
    counts: Counts
    scores: dict[str, Any]
    about: dict[str, Any]


def uneven_sizes(counts: Counts) -> str | None:
    """Describe a split in which few images hold most of the pixels, and so decide its scores; else None."""
    pixels = counts.decided.sort(descending=True).values.double()  # (N,)
    total, few = pixels.sum(), max(1, len(pixels) // _FEW_OF)
    share = float(pixels[:few].sum() / total) if total else 0.0
    if len(pixels) < _LEAST_IMAGES or share <= 0.5:
        return None
    return (
        f"{few} of {len(pixels)} images hold {share:.0%} of the pixels and decide all scores but the image-wise ones, "
        "which count every image alike"
    )


def write_report(folder: Path, report: Report) -> None:
    """Write report.json, images.csv (scores of each image, means over its classes, and counts) and metrics.csv."""
    fields: dict[str, Any] = {"mode": report.mode, "class_names": report.class_names, "images": len(report.ids)}
    fields |= {"about": report.about, "scores": report.scores}
    # allow_nan=False: NaN is no JSON, other readers would refuse the file
    write_text(folder / REPORT, json.dumps(fields, indent=2, allow_nan=False) + "\n")
    write_table(folder / IMAGES, _image_rows(report))
    write_table(folder / "metrics.csv", _metric_rows(report))


def _metric_rows(report: Report) -> Iterator[list[object]]:
    """Yield a row for each metric: by reduction, then of each class over all images, and its definition."""
    yield ["metric", *REDUCTIONS, *report.class_names, "definition"]
    total, absent = report.counts.total(), report.scores["absent_policy"]
    for name, metric in METRICS.items():
        reduced = [float(reduce(report.counts, metric, absent=absent)) for reduce in REDUCTIONS.values()]
        definition = (metric.__doc__ or "").partition("\n")[0]
        yield [name, *map(_written, [*reduced, *metric(total).tolist()]), definition]


def _image_rows(report: Report) -> Iterator[list[object]]:
    """Yield a row for each image: its scores and the counts that `read_report` restores."""
    counts = report.counts
    columns = [f"{kind}:{name}" for name in report.class_names for kind in _COUNTED]
    yield ["id", "iou", "f1", "correct", "decided", *columns]
    table = torch.stack([getattr(counts, kind) for kind in _COUNTED], -1).flatten(1)  # (N, C * 4)
    scores = torch.stack([class_mean(counts, iou), class_mean(counts, f1)], 1)  # (N, 2)
    for name, score, correct, decided, row in zip(
        report.ids, scores.tolist(), counts.correct.tolist(), counts.decided.tolist(), table.tolist(), strict=True
    ):
        yield [name, *(_written(value) for value in score), correct, decided, *row]


def read_report(folder: Path) -> Report:
    """Read what `write_report` wrote; raises `DataError` where a file is missing or damaged."""
    try:
        fields = json.loads(read_text(folder / REPORT))
        rows = list(csv.DictReader(io.StringIO(read_text(folder / IMAGES), newline="")))
        if len(rows) != fields["images"]:
            raise ValueError(f"{IMAGES} holds {len(rows)} images, expected {fields['images']}")
        names = tuple(fields["class_names"])
        tp, fp, fn, tn = (
            torch.tensor([[int(row[f"{kind}:{name}"]) for name in names] for row in rows]) for kind in _COUNTED
        )
        correct, decided = (torch.tensor([int(row[name]) for row in rows]) for name in ("correct", "decided"))
        ids = tuple(row["id"] for row in rows)
        counts = Counts(tp, fp, fn, tn, correct, decided)
        return Report(fields["mode"], names, ids, counts, fields["scores"], fields["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:120]
        raise DataError(f"{folder}: is not a whole report ({reason}); run segtrain eval or score again") from None


def find_reports(paths: Sequence[Path], split: str | None) -> list[Path]:
    """Return the report folders for paths of runs or reports; of all runs the report of the same split.

    Without ``split``, that is the first of test, val, train and others that all runs hold. Raises
    `DataError` with the command to run where a run lacks it.
    """
    held: dict[Path, list[str]] = {}
    problems = Problems()
    for path in paths:
        with problems.noted():
            if not (path / REPORT).is_file():
                held[path] = _held_reports(path)
    problems.raise_any()
    names = list(dict.fromkeys([*_SPLITS, *(name for found in held.values() for name in found)]))
    common = [name for name in names if all(name in found for found in held.values())]
    anywhere = [name for name in names if any(name in found for found in held.values())]
    wanted = split or next(iter([*common, *anywhere, "test"]))  # not held by all: the error below says so
    for path, names in held.items():
        if wanted not in names:
            others = f" (only of {', '.join(names)})" if names else ""
            command = f"segtrain eval {shlex.quote(str(path))}"
            remedy = f"run: {command} data.split={wanted}" if wanted in _SPLITS else f"run {command} on that data"
            raise DataError(f"{path}: holds no scores of {wanted} yet{others}; {remedy}")
    return [path / SPLITS_FOLDER / wanted if path in held else path for path in paths]


def _held_reports(path: Path) -> list[str]:
    """List the names of the reports in a run folder, test, val and train first."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder, expected a run or a folder that segtrain score wrote")
    # by length first: jobs of a sweep are numbered, and 10 comes after 9
    runs = sorted((folder.parent.name for folder in path.glob("*/checkpoints")), key=lambda name: (len(name), name))
    if runs and not (path / "checkpoints").is_dir():
        example = shlex.quote(str(path / runs[0]))
        raise DataError(f"{path}: is no run but holds {len(runs)} ({', '.join(runs[:8])}); give one, such as {example}")
    found = sorted(file.parent.name for file in (path / SPLITS_FOLDER).glob(f"*/{REPORT}"))
    return sorted(found, key=lambda name: _SPLITS.index(name) if name in _SPLITS else len(_SPLITS))


def write_confusion(folder: Path, matrix: Tensor, task: Task) -> NDArray[np.uint8]:
    """Write confusion.csv, in pixels, true labels as rows and predicted ones as columns; and a picture.

    ``matrix`` is ``(groups, L, L)``; a multilabel task has a group for each class. Returns the picture,
    RGB ``(H, W, 3)``.
    """
    labels = task.value_names
    several = len(matrix) > 1
    rows: list[Sequence[object]] = [("class", "truth", *labels) if several else ("truth", *labels)]
    pictures = []
    for name, group in zip(task.class_names, matrix, strict=several):
        start = (name,) if several else ()
        rows += [(*start, label, *row) for label, row in zip(labels, group.tolist(), strict=True)]
        pictures.append(confusion_picture(group.numpy(), (f"not {name}", name) if several else labels))
    write_table(folder / "confusion.csv", rows)
    picture = stack(pictures)
    write_picture(folder / "confusion.png", picture)
    return picture


def _written(value: float) -> object:
    return "" if value != value else round(value, 6)  # NaN is an empty cell
