"""Console output: progress bars and tables on a terminal, plain lines in a file or a pipe."""

import logging
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

log = logging.getLogger("segtrain")
T = TypeVar("T")

out = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
"""The only console: other writers would break a progress bar that is shown."""

IN_BAR = "in_bar"
"""Attribute of log records that a progress bar shows already: they go to log files alone."""

ONCE = {"once": True}
"""``extra`` of log lines to be shown once a command: each split that is opened says the same of its folders."""

_WIDE = 110  # columns of a terminal from which the bar shows all values of a step
_MANY = 8  # classes, above which they have no line each


class _ConsoleHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, IN_BAR, False) or record.getMessage() in self._told:
            return
        if hasattr(record, "once"):
            self._told.add(record.getMessage())
        style = "yellow" if record.levelno >= logging.WARNING else None
        out.print(self.format(record), style=style, markup=False, soft_wrap=True)


class _FileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - it is that of logging
        """Raise the error, such as a full disk; logging would print its traceback and go on."""
        raise  # called from within the except block of `emit`


def start_logging() -> None:
    """Show segtrain's log on the console, and only errors of timm's; of several ranks, the first shows it."""
    is_first = os.environ.get("RANK", "0") == "0"
    log.setLevel(logging.INFO if is_first else logging.ERROR)
    log.handlers = [_ConsoleHandler()]
    log.propagate = False
    logging.getLogger("timm").setLevel(logging.ERROR)


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Write segtrain's log to a file too, with timestamps, while the context is open."""
    handler = _FileHandler(file, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # a full disk, which an earlier line has reported
            handler.close()


class Display:
    """Progress bars of one run; without a terminal, nothing but log lines."""

    def __init__(self) -> None:
        self.bars: Progress | None = None

    @contextmanager
    def running(self, step: int, total_steps: int, *, label: str = "training") -> Iterator[None]:
        """Show a progress bar over the steps while the context is open, on a terminal."""
        if not out.is_terminal:
            yield
            return
        one_line = Column(no_wrap=True, overflow="crop")
        columns = (
            TextColumn("{task.description}", table_column=one_line),
            BarColumn(bar_width=None, table_column=Column(min_width=4, ratio=1)),
            MofNCompleteColumn(table_column=one_line),
            TimeRemainingColumn(compact=True, table_column=one_line),
            TextColumn("{task.fields[status]}", table_column=one_line),
        )
        with Progress(*columns, console=out, transient=True, expand=True) as self.bars:
            self.steps = self.bars.add_task(label, total=total_steps, completed=step, status="")
            yield
        self.bars = None

    def stepped(self) -> None:
        """Advance the bar by one step."""
        if self.bars:
            self.bars.advance(self.steps)

    def training(self, epoch: int, step: int, total_steps: int, values: Mapping[str, float]) -> None:
        """Show the values of a log interval: in the bar, or as a line."""
        parts = [
            f"loss {values['loss']:.4f}",
            f"{values['images_per_second']:.1f} images/s",
            f"lr {values['lr']:.2e}",
            f"data {values['data_share']:.0%}",
            _memory(),
        ]
        if self.bars:
            status = "  ".join(parts if out.width >= _WIDE else parts[:2])
            self.bars.update(self.steps, description=f"epoch {epoch + 1}", status=status)
        left = _remaining(step, total_steps, values["steps_per_second"])
        line = "epoch %d  step %d/%d  %s  %s left"
        shown = {IN_BAR: self.bars is not None}
        log.info(line, epoch + 1, step, total_steps, "  ".join(parts), left, extra=shown)

    def progress(self, items: Iterable[T], label: str, total: int) -> Iterator[T]:
        """Iterate over items with a second progress bar."""
        if not self.bars:
            yield from items
            return
        task = self.bars.add_task(label, total=total, status="")
        for item in items:
            yield item
            self.bars.advance(task)
        self.bars.remove_task(task)


@contextmanager
def counting(total: int, label: str) -> Iterator[Callable[[], None]]:
    """Show a progress bar over ``total`` items; yields a function to call after each item."""
    display = Display()
    with display.running(0, total, label=label):
        yield display.stepped


def score_table(title: str, scores: Mapping[str, Any]) -> Table:
    """Lay out the scores of a split: a row per class and their mean, with intervals if measured.

    The mean row has no accuracy: pixel accuracy is no mean over classes; `score_notes` has it.
    """
    columns = ("iou", "f1", "precision", "recall", "accuracy")
    intervals = scores.get("intervals")
    table = Table(title=escape(title), title_justify="left")
    table.add_column("class")
    for column in columns:
        table.add_column(column, justify="right")
        if intervals and column == "iou":
            table.add_column(f"{intervals['confidence']:.0%} interval", justify="right")

    def add(name: str, row: Mapping[str, Any], ends: Mapping[str, Any] | None, *, style: str | None = None) -> None:
        cells = [_score(row[column]) if column in row else "" for column in columns]
        if ends:
            cells.insert(1, _interval(ends["iou"]))
        table.add_row(escape(name), *cells, style=style)

    for name, row in scores["per_class"].items():
        add(name, row, intervals and intervals["per_class"][name])
    if len(scores["per_class"]) > 1:
        table.add_section()
        add("mean", {column: scores[column] for column in columns[:-1]}, intervals, style="bold")
    return table


def table_of_scores(title: str, results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay out the mean scores of several splits or data sets, one in a row."""
    columns = ("iou", "iou_imagewise", "f1", "accuracy")
    table = Table(title=escape(title), title_justify="left")
    table.add_column("data", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right")
    for name, scores in results.items():
        table.add_row(escape(name), *(_score(scores[column]) for column in columns))
    return table


def score_notes(scores: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for below the table: how it was scored, and the other measures."""
    policy = {"exclude": "left out of means", "one": "counted as 1", "zero": "counted as 0"}[scores["absent_policy"]]
    intervals = scores.get("intervals", {})
    at = f"scored at the {scores['at']} size" if "at" in scores else "scored"
    yield f"{at}; absent classes are {policy}: {', '.join(scores['absent']) or 'none here'}"
    for key, name in (("iou_imagewise", "image-wise iou"), ("accuracy", "pixel accuracy")):
        yield f"{name} {_score(scores[key])}{_in_brackets(intervals.get(key))}"
    if "label_accuracy" in scores:
        yield f"labels of images: accuracy {scores['label_accuracy']:.4f}"
    for key, unit in (("boundary_iou", ""), ("surface_hausdorff", " pixels"), ("surface_average", " pixels")):
        if key in scores:
            value, ends = scores[key]["mean"], _in_brackets(intervals.get(key))
            yield f"{key.replace('_', ' ')} {_score(value)}{unit}{ends}"
    thresholds = {name: best for name, best in scores.get("thresholds", {}).items() if best}
    yield from _threshold_notes(thresholds, intervals)
    calibration = scores.get("calibration", {})
    if calibration.get("temperature") is not None:
        calibrated = f"at temperature {calibration['temperature']:.2f} {calibration['ece_calibrated']:.4f}"
        yield f"expected calibration error {calibration['ece']:.4f}{_in_brackets(intervals.get('ece'))}, {calibrated}"


def _threshold_notes(found: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Any]) -> Iterator[str]:
    """Yield the best threshold of each class, or of many classes their mean average precision."""
    if len(found) > _MANY:
        mean = sum(best["average_precision"] for best in found.values()) / len(found)
        ends = _in_brackets(intervals.get("average_precision"))
        yield f"mean average precision {mean:.4f}{ends} over {len(found)} classes; their thresholds are in scores.json"
        return
    for name, best in found.items():
        ends = _in_brackets(intervals.get("per_class", {}).get(name, {}).get("average_precision"))
        where = f"best threshold {best['threshold']:.3f} (iou {best['iou']:.4f})"
        yield f"{name}: average precision {best['average_precision']:.4f}{ends}, {where}"


def _in_brackets(ends: Sequence[float] | None) -> str:
    return f" ({_interval(ends)})" if ends else ""


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _score(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"


def _memory() -> str:
    import torch  # here, as this module also serves commands that answer before torch could be imported

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB GPU"
    per_unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * per_unit / 2**30:.1f} GiB"


def _remaining(step: int, total_steps: int, steps_per_second: float) -> str:
    seconds = round((total_steps - step) / max(steps_per_second, 1e-9))
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
