"""``segtrain -m``: run every combination of the given values in this process, and rank them."""

import csv
import gc
import logging
import math
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from segtrain.commands.arguments import Arguments, show
from segtrain.commands.folders import make_folder
from segtrain.commands.train import plan, train
from segtrain.config.compose import compose, expand_sweep, overrides_of
from segtrain.config.schema import TrainConfig
from segtrain.config.spine import check_leaves, to_config
from segtrain.config.words import quote
from segtrain.console import out
from segtrain.errors import ConfigError, Interrupted, SegtrainError

log = logging.getLogger(__name__)

_SCORES = ("iou", "iou_imagewise", "f1", "accuracy", "loss")


@dataclass
class Job:
    """One combination: what varies in it, its whole command line, and how it ended."""

    number: int
    varied: tuple[str, ...]
    overrides: tuple[str, ...]
    folder: Path
    scores: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def rank(self, monitor: str) -> float:
        """Return what to sort by: the best first, jobs without a score last."""
        value = self.scores.get(monitor)
        if value is None:
            return math.inf
        return float(value) if monitor == "loss" else -float(value)


def run(arguments: Arguments) -> int:
    """Run all jobs; returns 0 if all succeeded, else 1 after the others are done."""
    jobs = plan_jobs(arguments)
    if arguments.cfg:
        show("\n".join(" ".join(job.overrides) for job in jobs))
        return 0
    check_jobs(jobs, arguments.config_dir)
    make_folder(jobs[0].folder.parent, key="hydra.sweep.dir")
    monitor = plan(jobs[0].overrides, arguments.config_dir).job["trainer"]["monitor"].removeprefix("val/")
    for job in jobs:
        log.info("job %d of %d: %s", job.number + 1, len(jobs), " ".join(job.varied))
        run_job(job, arguments.config_dir)
        gc.collect()  # a model and its optimizer refer to each other; the next job needs their memory
    ranked = sorted(jobs, key=lambda job: job.rank(monitor))
    leaderboard(ranked, monitor, jobs[0].folder.parent / "leaderboard.csv")
    failed = [job for job in jobs if job.error]
    for job in failed:
        sys.stderr.write(f"segtrain: job {job.number + 1} ({' '.join(job.varied)}) failed: {job.error}\n")
    return 1 if failed else 0


def plan_jobs(arguments: Arguments) -> list[Job]:
    """Expand the grid; mistakes in any job are reported before the first one starts."""
    expanded = expand_sweep(arguments.overrides)
    folder = sweep_folder(*expanded[0], arguments.config_dir)
    jobs = []
    problems: dict[str, None] = {}
    for number, (words, varied) in enumerate(expanded):
        own = folder / str(number)
        job = Job(number, varied, (*words, f"hydra.run.dir={quote(str(own))}"), own)
        try:
            plan(job.overrides, arguments.config_dir)
        except SegtrainError as error:
            problems.update(dict.fromkeys(str(error).splitlines()))
        jobs.append(job)
    if problems:
        raise ConfigError("\n".join(problems))
    return jobs


def sweep_folder(words: Sequence[str], varied: Sequence[str], config_dir: Path | None) -> Path:
    """Return the folder of all jobs, by the first one's words: where one name is given to all, it goes by that name."""
    composed = compose("train", words, config_dir=config_dir)
    named = overrides_of([word for word in words if word not in varied], "name")
    return composed.run_dir if named and not overrides_of(words, "hydra.sweep.dir") else composed.sweep_dir


def check_jobs(jobs: Sequence[Job], config_dir: Path | None) -> None:
    """Raise ConfigError with the mistakes that only the signatures of what would be built show, in any job."""
    configs = [to_config(plan(job.overrides, config_dir).job, TrainConfig) for job in jobs]
    problems = dict.fromkeys(problem for config in configs for problem in check_leaves(config))
    if problems:
        raise ConfigError("\n".join(problems))


def run_job(job: Job, config_dir: Path | None) -> None:
    """Train one job; a failure is reported at once and does not stop the others, a signal does."""
    try:
        job.scores = train(plan(job.overrides, config_dir))
    except Interrupted:
        raise
    except SegtrainError as error:
        job.error = str(error).splitlines()[0]
        log.error("job %d failed: %s", job.number + 1, error)
    except Exception as error:  # a bug, or a device out of memory: the other jobs may still succeed
        job.error = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        log.error("job %d failed:\n%s", job.number + 1, traceback.format_exc())


def leaderboard(ranked: Sequence[Job], monitor: str, file: Path) -> None:
    """Print the jobs from best to worst, and write them as CSV."""
    columns = [monitor, *(name for name in _SCORES if name != monitor)]
    table = Table(title=f"{len(ranked)} jobs by val/{monitor}", title_justify="left")
    for name in ("rank", "job", "varied", *columns):
        table.add_column(name, justify="left" if name == "varied" else "right")
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["rank", "job", "varied", *columns, "folder", "error"])
        for place, job in enumerate(ranked, 1):
            values = [job.scores.get(name) for name in columns]
            writer.writerow([place, job.number, " ".join(job.varied), *values, job.folder, job.error])
            shown = ["failed" if job.error else f"{value:.4f}" if value is not None else "-" for value in values]
            table.add_row(str(place), str(job.number), " ".join(job.varied), *shown)
    out.print(table)
    log.info("written to %s", file)
