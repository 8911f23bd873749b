"""Logging of a run: metrics.jsonl, scores.json, pictures, its logger and the terminal."""

import json
import logging
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segtrain.errors import SegtrainError
from segtrain.evaluation.reports import SPLITS_FOLDER, Report, read_report, write_confusion, write_report
from segtrain.loggers.base import Logger
from segtrain.run.folders import numbered
from segtrain.run.pages.writing import leave_page
from segtrain.run.profiling import Clock
from segtrain.run.scores import best_scores, read_scores, write_scores
from segtrain.storage import read_text, write_picture, write_table
from segtrain.task import Task
from segtrain.terminal.console import Display, out, score_notes, score_table

log = logging.getLogger(__name__)

T = TypeVar("T")


class RunLog:
    """Writes the numbers and pictures of a run to its folder, its logger and the terminal."""

    def __init__(
        self,
        folder: Path,
        logger: Logger,
        *,
        config: str = "",
        choices: Mapping[str, Any] | None = None,
        monitor: str = "val/iou",
    ) -> None:
        self.folder = folder
        self.logger = logger
        self.config = config
        self.choices = dict(choices or {})
        self.clock = Clock()
        self.display = Display()
        self.monitor = monitor.removeprefix("val/")
        self.steps = 0  # since the last reading of the clock
        self.metrics = folder / "metrics.jsonl"
        self.metrics.touch()

    @contextmanager
    def running(self, step: int, total_steps: int) -> Iterator[None]:
        """Open the logger and the progress display for the steps from ``step`` on."""
        self.total_steps = total_steps
        self.logger.start(step, self.config)
        with self.display.running(step, total_steps):
            self.restart_clock()
            try:
                yield
            except SegtrainError:  # saved, and to be gone on with
                self.write_curves()
                raise
        self.write_curves()
        best = best_scores(self.folder)
        if best:
            epoch = f"epoch {best['epoch']}, " if "epoch" in best else ""
            show_scores(f"best validation: {epoch}step {best['step']}", best)
        self.logger.finish(self.choices, {f"best/{name}": value for name, value in _numbers(best).items()})
        leave_page(self.folder)

    def write_curves(self) -> None:
        """Write metrics.csv: the numbers of every validation in metrics.jsonl, a row each."""
        entries = [json.loads(line) for line in read_text(self.metrics).splitlines()]
        rows = [{k: v for k, v in entry.items() if _is_cell(v)} for entry in entries if entry["split"] == "val"]
        names = list(dict.fromkeys(name for row in rows for name in row if name != "split"))
        write_table(self.folder / "metrics.csv", [names, *([row.get(name) for name in names] for row in rows)])

    def restart_clock(self) -> None:
        """Exclude the time since the last reading from the speed, such as that of a validation."""
        self.clock.restart()
        self.steps = 0

    def stepped(self, images: int) -> None:
        """Count one optimizer step."""
        self.clock.images += images
        self.steps += 1
        self.display.stepped()

    def training(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write the values of a log interval, and its speed."""
        steps, reading = self.steps, self.clock.read()
        self.steps = 0
        self._append({"split": "train", "step": step, "epoch": epoch, **values, **reading})
        self.logger.scalars(step, {f"train/{name}": value for name, value in {**values, **reading}.items()})
        speed = {"steps_per_second": steps / reading["seconds"]}
        self.display.training(epoch, step, self.total_steps, {**values, **reading, **speed})

    def validation(
        self, step: int, epoch: int, scores: Mapping[str, Any], *, losses: Mapping[str, float | None], is_best: bool
    ) -> None:
        """Write the scores of a validation; the best become the ``val`` entry of scores.json."""
        self._append({"split": "val", "step": step, "epoch": epoch, **losses, **scores})
        per_class = {f"val_iou/{name}": row["iou"] for name, row in scores["per_class"].items()}
        values = {f"val/{name}": value for name, value in _numbers({**scores, **losses}).items()}
        self.logger.scalars(step, {**values, **_numbers(per_class)})
        line = headline({**scores, "loss": losses["loss"]}, self.monitor)
        log.info("epoch %d: val %s%s", epoch + 1, line, " (best)" if is_best else "")
        if is_best:
            self._keep_evaluation()
            write_scores(self.folder, "val", {**scores, "loss": losses["loss"], "epoch": epoch + 1, "step": step})

    def samples(self, step: int, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Write pictures of validation images to the logger."""
        for number, picture in enumerate(pictures):
            self.logger.picture(step, f"val/{number}", picture)

    def _keep_evaluation(self) -> None:
        """Rename a report that `segtrain eval` wrote as ``val``, before a better epoch replaces it."""
        reports = self.folder / SPLITS_FOLDER
        if command_of(reports / "val") == "eval":
            free = next(each for each in numbered(reports / "val-eval") if not each.exists())
            move_scores(self.folder, "val", free.name)
            log.info("the scores that segtrain eval gave an earlier checkpoint are kept as %s", free.name)

    def overview(self, picture: NDArray[np.uint8]) -> None:
        """Write overview.png."""
        write_picture(self.folder / "overview.png", picture)

    def report(self, step: int, report: Report, confusion: Tensor, task: Task) -> None:
        """Write the report of the best validation, and its confusion matrix to the logger."""
        folder = self.folder / SPLITS_FOLDER / "val"
        folder.mkdir(parents=True, exist_ok=True)
        origin = {"ckpt": str(self.folder.resolve() / "checkpoints" / "best.pt"), "config": self.config}
        write_report(folder, replace(report, about={**report.about, **origin}))
        self.logger.picture(step, "val/confusion", write_confusion(folder, confusion, task))

    def progress(self, items: Iterable[T], label: str, total: int) -> Iterator[T]:
        """Iterate over items with a progress bar."""
        return self.display.progress(items, label, total)

    def position(self) -> int:
        """Return the length of metrics.jsonl in bytes."""
        return self.metrics.stat().st_size

    def rewind(self, position: int) -> None:
        """Truncate metrics.jsonl to its length at a checkpoint: a resumed run writes the rest again."""
        if position < self.position():
            with self.metrics.open("r+b") as file:
                file.truncate(position)

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")  # NaN is no JSON


def log_evaluation(
    logger: Logger, split: str, scores: Mapping[str, Any], pictures: Mapping[str, NDArray[np.uint8]], *, config: str
) -> None:
    """Write the scores and pictures of an evaluation to a logger of their own."""
    logger.start(0, config)
    for name, picture in pictures.items():
        logger.picture(0, f"{split}/{name}", picture)
    logger.finish({"split": split}, {f"{split}/{name}": value for name, value in _numbers(scores).items()})


def show_scores(title: str, scores: Mapping[str, Any], *, of: str = "") -> None:
    """Print the table and notes of a split, below the paths ``of`` it, and log its headline scores."""
    if of:
        out.print(of, markup=False, soft_wrap=True)  # whole, where the title of a table is broken to its width
    out.print(score_table(title, scores))
    for line in score_notes(scores):
        out.print(line, markup=False, soft_wrap=True)
    log.info("%s: %s", title, headline(scores))


def headline(scores: Mapping[str, Any], monitor: str = "iou") -> str:
    """Write the headline scores of a split in a line, the monitored one included."""
    names = dict.fromkeys(("iou", "f1", "accuracy", "label_accuracy", "loss", monitor))
    named = [name for name in names if name in scores]
    return ", ".join(f"{name.replace('_', ' ')} {_short(scores[name])}" for name in named)


def _short(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"


def command_of(report: Path) -> str | None:
    """Return the command that wrote a report; None where there is none that can be read."""
    with suppress(SegtrainError):
        return str(read_report(report).about.get("command"))
    return None


def move_scores(folder: Path, split: str, name: str) -> None:
    """Rename the report of a split, and copy its entry of scores.json; replaces what has the name."""
    reports = folder / SPLITS_FOLDER
    shutil.rmtree(reports / name, ignore_errors=True)
    (reports / split).rename(reports / name)
    write_scores(folder, name, read_scores(folder).get(split, {}))


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Pick the finite numbers, which loggers take as scalars."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
