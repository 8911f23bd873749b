"""A report folder: one scored split as files, for people and for `segtrain compare`."""

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

from segtrain.errors import DataError, Problems
from segtrain.files import read_text, write_picture, write_table, write_text
from segtrain.metrics import METRICS, REDUCTIONS, Counts, class_mean, f1, iou
from segtrain.pictures import stack
from segtrain.plots import confusion_picture
from segtrain.task import Mode, Task

SPLITS_FOLDER = "eval"
"""Where in a run folder the reports of its splits lie."""
_SPLITS = ("test", "val", "train")
REPORT = "report.json"
IMAGES = "images.csv"
_FEW_OF = 10  # of so many images, one may hold most of the pixels before that is said
_LEAST_IMAGES = 3
_COUNTED = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True, eq=False)
class Report:
    """One scored split.

    ``counts`` are ``(N, C)`` on the CPU, in the order of ``ids``; ``scores`` are those of `metrics.scores` and what was
    measured beside them; ``about`` says how they came about: the command, the split, the size scored at, the paths.
    """

    mode: Mode
    class_names: tuple[str, ...]
    ids: tuple[str, ...]
    counts: Counts
    scores: dict[str, Any]
    about: dict[str, Any]


def uneven_sizes(counts: Counts) -> str | None:
    """Say that few images hold most of the pixels of a split, and so decide its scores; None where they do not."""
    pixels = counts.decided.sort(descending=True).values.double()
    total, few = pixels.sum(), max(1, len(pixels) // _FEW_OF)
    share = float(pixels[:few].sum() / total) if total else 0.0
    if len(pixels) < _LEAST_IMAGES or share <= 0.5:
        return None
    return (
        f"{few} of {len(pixels)} images hold {share:.0%} of the pixels and decide all scores but the image-wise ones, "
        "which count every image alike"
    )


def write_report(folder: Path, report: Report) -> None:
    """Write report.json, images.csv (each image's scores, means over its classes, and counts) and metrics.csv."""
    fields: dict[str, Any] = {"mode": report.mode, "class_names": report.class_names, "images": len(report.ids)}
    fields |= {"about": report.about, "scores": report.scores}
    write_text(folder / REPORT, json.dumps(fields, indent=2, allow_nan=False) + "\n")
    write_table(folder / IMAGES, _image_rows(report))
    write_table(folder / "metrics.csv", _metric_rows(report))


def _metric_rows(report: Report) -> Iterator[list[object]]:
    """Every metric there is: by reduction, then of each class over all images, and what it is."""
    yield ["metric", *REDUCTIONS, *report.class_names, "definition"]
    total, absent = report.counts.total(), report.scores["absent_policy"]
    for name, metric in METRICS.items():
        reduced = [float(reduce(report.counts, metric, absent=absent)) for reduce in REDUCTIONS.values()]
        definition = (metric.__doc__ or "").partition("\n")[0]
        yield [name, *map(_written, [*reduced, *metric(total).tolist()]), definition]


def _image_rows(report: Report) -> Iterator[list[object]]:
    counts = report.counts
    columns = [f"{kind}:{name}" for name in report.class_names for kind in _COUNTED]
    yield ["id", "iou", "f1", "correct", "decided", *columns]
    table = torch.stack([getattr(counts, kind) for kind in _COUNTED], -1).flatten(1)
    scores = torch.stack([class_mean(counts, iou), class_mean(counts, f1)], 1)
    for name, score, correct, decided, row in zip(
        report.ids, scores.tolist(), counts.correct.tolist(), counts.decided.tolist(), table.tolist(), strict=True
    ):
        yield [name, *(_written(value) for value in score), correct, decided, *row]


def read_report(folder: Path) -> Report:
    """Read what `write_report` wrote; raises DataError where a file is missing or damaged."""
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
    """Return the report folders that run folders or report folders stand for: of runs, those of one name.

    Unless one is asked for, that is test, val, train or another, the first that all runs hold. Raises DataError with
    the command to type where a run lacks it.
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
    wanted = split or next(iter([*common, *anywhere, "test"]))
    for path, names in held.items():
        if wanted not in names:
            others = f" (only of {', '.join(names)})" if names else ""
            command = f"segtrain eval {shlex.quote(str(path))}"
            remedy = f"run: {command} data.split={wanted}" if wanted in _SPLITS else f"run {command} on that data"
            raise DataError(f"{path}: holds no scores of {wanted} yet{others}; {remedy}")
    return [path / SPLITS_FOLDER / wanted if path in held else path for path in paths]


def _held_reports(path: Path) -> list[str]:
    """Name the reports in a run folder, the splits of its own data first."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder, expected a run or a folder that segtrain score wrote")
    runs = sorted((folder.parent.name for folder in path.glob("*/checkpoints")), key=lambda name: (len(name), name))
    if runs and not (path / "checkpoints").is_dir():
        example = shlex.quote(str(path / runs[0]))
        raise DataError(f"{path}: is no run but holds {len(runs)} ({', '.join(runs[:8])}); give one, such as {example}")
    found = sorted(file.parent.name for file in (path / SPLITS_FOLDER).glob(f"*/{REPORT}"))
    return sorted(found, key=lambda name: _SPLITS.index(name) if name in _SPLITS else len(_SPLITS))


def write_confusion(folder: Path, matrix: Tensor, task: Task) -> NDArray[np.uint8]:
    """Write confusion.csv, true labels as rows and predicted ones as columns, in pixels; and its picture, returned too.

    ``matrix`` is ``(groups, L, L)``; a multilabel task has one group for each class.
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
    return "" if value != value else round(value, 6)
