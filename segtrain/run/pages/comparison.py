"""The page on several runs side by side: their scores, how sure differences are, their configs and curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.differing import ABSENT, differing
from segtrain.drawing.page import Cell, Page, Section, Table, render
from segtrain.evaluation import differences as paired
from segtrain.evaluation.reports import Report, find_reports
from segtrain.metrics import HEADLINES
from segtrain.metrics.bootstrap import FEW
from segtrain.run.pages.history import chart_of, line_of
from segtrain.run.pages.reading import RunFiles
from segtrain.run.pages.scores import ends, how, intervals_of, score
from segtrain.storage import write_text
from segtrain.version import __version__

_SHOWN = ("iou", "iou_imagewise", "f1", "accuracy")
_SEED = 0  # of the draws of images


def write_comparison(
    folders: Sequence[Path], split: str | None, file: Path, *, replicates: int, confidence: float
) -> None:
    """Write the page; ``replicates`` are those of the paired intervals, 0 for none.

    Raises `DataError` where a run lacks the report of that name, with the command to make it.
    """
    places = find_reports(folders, split)
    runs = [RunFiles.of(folder, place.name) for folder, place in zip(folders, places, strict=True)]
    names = _letters(len(runs))
    reports = [run.report for run in runs]
    assert all(reports)  # found_reports has looked
    known = [report for report in reports if report is not None]
    intervals = [intervals_of(report) for report in known]
    sections = [
        _scores(names, known, intervals),
        _paired(names, known, replicates=replicates, confidence=confidence),
        _classes(names, known, intervals),
        _curves(names, runs),
        _configs(names, runs),
        _environments(names, runs),
    ]
    page = Page(
        title=f"{len(runs)} runs: {places[0].name}",
        summary=" | ".join(f"{name}: {run.folder}" for name, run in zip(names, runs, strict=True)),
        sections=[section for section in sections if section is not None],
        footer=f"Written by segtrain {__version__} from the run folders; this page fetches nothing from elsewhere.",
    )
    write_text(file, render(page))


def _letters(count: int) -> list[str]:
    """Name runs A, B, ..., Z, R27, ..."""
    return [chr(ord("A") + place) if place < 26 else f"R{place + 1}" for place in range(count)]


def _scores(names: Sequence[str], reports: Sequence[Report], intervals: Sequence[Mapping[str, Any]]) -> Section:
    """Show the headline scores of each run with its own interval, the best first."""
    order = sorted(range(len(reports)), key=lambda place: -(reports[place].scores["iou"] or -1.0))
    rows: list[list[Cell | str]] = [
        [
            names[place],
            *(Cell(score(reports[place].scores[key]), None, ends(intervals[place][key])) for key in _SHOWN),
            str(len(reports[place].ids)),
        ]
        for place in order
    ]
    columns = ["run", "IoU", "image-wise IoU", "F1", "accuracy", "images"]
    words = [f"{name}: {sentence}" for name, report in zip(names, reports, strict=True) for sentence in how(report)[:1]]
    table = Table("Scores, by IoU, with intervals of each run alone", columns, rows)
    return Section("Scores", words=list(dict.fromkeys(words)), tables=[table])


def _paired(names: Sequence[str], reports: Sequence[Report], *, replicates: int, confidence: float) -> Section | None:
    """Compare each run with the one of the highest IoU, image by image, where both scored the same images."""
    if not replicates:
        return None
    best = max(range(len(reports)), key=lambda place: reports[place].scores["iou"] or -1.0)
    images = len(reports[best].ids)
    rows, words = [], []
    for place, report in enumerate(reports):
        if place == best:
            continue
        if problem := paired.mismatch(reports[best], report):
            words.append(f"{names[place]} cannot be compared with {names[best]}: it {problem}.")
            continue
        other = paired.in_order_of(reports[best], report)
        found = paired.differences(reports[best], other, replicates=replicates, confidence=confidence, seed=_SEED)
        by_name = {row.metric: row for row in found if not row.class_name}
        for metric in HEADLINES:
            row = by_name[metric]
            p = "" if row.p is None else "below 0.001" if row.p < 0.001 else f"{row.p:.3f}"
            sure = "yes" if row.is_clear else "no"
            ends_of = "" if row.interval is None else " to ".join(f"{end:+.4f}" for end in row.interval)
            difference = "" if row.difference is None else f"{row.difference:+.4f}"
            rows.append([f"{names[place]} - {names[best]}: {metric}", difference, ends_of, p, sure])
    words = [
        f"{names[best]} has the highest IoU. Each difference is paired: every replicate draws the same images for both "
        "(segtrain compare tells more of two). They speak of other images, not of other trainings.",
        *([f"{images} images are few: intervals are too narrow, and p is too small."] if images < FEW else []),
        *words,
    ]
    columns = ["difference", "value", f"{confidence:.0%} interval", "p", "interval without 0"]
    return Section("Differences", words=words, tables=[Table("Differences to the best", columns, rows)] if rows else [])


def _classes(names: Sequence[str], reports: Sequence[Report], intervals: Sequence[Mapping[str, Any]]) -> Section | None:
    """Show the IoU of each class in all runs."""
    classes = list(dict.fromkeys(name for report in reports for name in report.class_names))
    if len(classes) < 2:
        return None
    rows = []
    for name in classes:
        cells: list[Cell | str] = [name]
        for report, found in zip(reports, intervals, strict=True):
            row = report.scores["per_class"].get(name)
            cells.append(Cell(score(row["iou"]), row["iou"], ends(found["per_class"][name]["iou"])) if row else "")
        rows.append(cells)
    return Section("Classes", tables=[Table("IoU of each class", ["class", *names], rows)])


def _curves(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    """Draw the same curve of all runs in one chart each."""
    charts = []
    for title, split, key, up in (
        ("Training loss", "train", "loss", "loss"),
        ("Validation loss", "val", "loss", "loss"),
        ("Validation IoU", "val", "iou", "IoU"),
        ("Learning rate", "train", "lr", "learning rate"),
    ):
        rows = [[row for row in run.history if row.get("split") == split] for run in runs]
        lines = [line_of(name, of_run, key) for name, of_run in zip(names, rows, strict=True)]
        chart = chart_of(title, lines, up)
        charts += [chart] if chart else []
    return Section("Curves", charts=charts)


def _configs(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    """Show the keys whose values are not the same in all runs."""
    return _differing("Configs", "Keys that differ", names, [run.record.config for run in runs])


def _environments(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    """Show what differs in what the runs ran on, at their last start."""
    starts = [{**run.record.starts[-1], "started": None} if run.record.starts else {} for run in runs]
    return _differing("What they ran on", "What differs at the last start", names, starts)


def _differing(title: str, caption: str, names: Sequence[str], trees: Sequence[Mapping[str, Any]]) -> Section:
    """Lay out the keys that differ between the first of several trees and any other."""
    values: dict[str, list[Any]] = {}
    for tree in trees[1:]:
        for key, mine, _ in differing(trees[0], tree):
            values.setdefault(key, [mine] * len(trees))
    for place, tree in enumerate(trees[1:], 1):
        others = {key: theirs for key, _, theirs in differing(trees[0], tree)}
        for key, row in values.items():
            row[place] = others.get(key, row[0])
    if not values:
        return Section(title, words=["Nothing differs."])
    rows = [[key, *map(_written, row)] for key, row in values.items()]
    return Section(title, tables=[Table(caption, ["key", *names], rows)])


def _written(value: Any) -> str:
    """Write a value as in YAML, in one line."""
    if value is ABSENT:
        return "(none)"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**20, allow_unicode=True)
    return text.removesuffix("...\n").strip()
