"""The leaderboard of a sweep: its jobs from best to worst, and their means over folds and seeds."""

import logging
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from rich.markup import escape
from rich.table import Table

from segtrain.run.plan import Plan
from segtrain.storage import write_table
from segtrain.terminal.console import out

log = logging.getLogger(__name__)

_SCORES = ("iou", "iou_imagewise", "f1", "accuracy", "loss")
State: TypeAlias = Literal["waiting", "running", "finished", "interrupted", "failed"]
REPEATED = ("data.fold", "seed", "data.seed")
"""Keys whose values make repetitions of one experiment, of which the mean counts."""


@dataclass
class Job:
    """One job of a sweep, numbered from 1: the words that vary, its plan, and its result.

    ``handle`` is the number of a job of a cluster that makes it.
    """

    number: int
    varied: tuple[str, ...]
    plan: Plan
    scores: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None
    error: str = ""
    state: State = "waiting"
    handle: str | None = None
    config_dir: Path | None = None

    def rank(self, monitor: str) -> float:
        """Return the sort key: the best job first, jobs without a score last."""
        value = self.scores.get(monitor)
        if value is None:
            return math.inf
        return float(value) if monitor == "loss" else -float(value)


def show_leaderboard(jobs: Sequence[Job], monitor: str, folder: Path, *, has_one_loss: bool) -> None:
    """Print the jobs from best to worst, and write leaderboard.csv; with losses only if all jobs have the same.

    Where jobs differ in folds or seeds, their means follow, and means.csv.
    """
    columns = [name for name in dict.fromkeys((monitor, *_SCORES)) if has_one_loss or name != "loss"]
    table = Table(title=f"{len(jobs)} jobs by val/{monitor}", title_justify="left")
    for name in ("rank", "job", "varied", *columns, "parameters", "time"):
        table.add_column(name, justify="left" if name == "varied" else "right", overflow="fold")
    rows: list[Sequence[object]] = [("rank", "job", "varied", *columns, "parameters", "seconds", "folder", "error")]
    for place, job in enumerate(sorted(jobs, key=lambda job: job.rank(monitor)), 1):
        values = [job.scores.get(name) for name in columns]
        named = (place, job.number, " ".join(job.varied))
        rows.append((*named, *values, job.parameters, _rounded(job.seconds), job.plan.folder, job.error))
        shown = ["failed" if job.error else f"{value:.4f}" if value is not None else "-" for value in values]
        table.add_row(*(escape(str(cell)) for cell in named), *shown, _millions(job.parameters), _minutes(job.seconds))
    file = folder / "leaderboard.csv"
    write_table(file, rows)
    out.print(table)
    log.info("written to %s", file)
    if any(word.partition("=")[0] in REPEATED for job in jobs for word in job.varied):
        _show_means(jobs, monitor, columns, folder / "means.csv")


class Mean(NamedTuple):
    """Repetitions of one experiment: its words, and mean and standard deviation of each score.

    The deviation is that of a sample (n - 1), None of a single value; ``missing`` repetitions have no scores.
    """

    varied: tuple[str, ...]
    jobs: int
    missing: int
    scores: dict[str, tuple[float, float | None]]


def means(jobs: Sequence[Job], columns: Sequence[str]) -> list[Mean]:
    """Return the mean scores of jobs that differ in folds and seeds alone, in the order of the jobs."""
    groups: dict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[tuple(word for word in job.varied if word.partition("=")[0] not in REPEATED)].append(job)
    found = []
    for varied, members in groups.items():
        scored = [job for job in members if job.scores]
        scores: dict[str, tuple[float, float | None]] = {}
        for name in columns:
            # a class set that is absent in one fold has no score there
            values = [float(job.scores[name]) for job in scored if job.scores.get(name) is not None]
            if values:
                scores[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
        found.append(Mean(varied, len(scored), len(members) - len(scored), scores))
    return found


def _show_means(jobs: Sequence[Job], monitor: str, columns: Sequence[str], file: Path) -> None:
    sign = 1 if monitor == "loss" else -1
    ranked = sorted(
        means(jobs, columns), key=lambda mean: sign * mean.scores[monitor][0] if monitor in mean.scores else math.inf
    )
    table = Table(title=f"means over {' and '.join(_repeated(jobs))}, with standard deviations", title_justify="left")
    for name in ("rank", "varied", "jobs", *columns):
        table.add_column(name, justify="left" if name == "varied" else "right", overflow="fold")
    pairs = [part for name in columns for part in (name, f"{name}_std")]
    rows: list[Sequence[object]] = [("rank", "varied", "jobs", "without_scores", *pairs)]
    for place, mean in enumerate(ranked, 1):
        words = " ".join(mean.varied) or "all"
        values = [mean.scores.get(name, (None, None)) for name in columns]
        rows.append((place, words, mean.jobs, mean.missing, *(part for pair in values for part in pair)))
        jobs_shown = str(mean.jobs) if not mean.missing else f"{mean.jobs} of {mean.jobs + mean.missing}"
        table.add_row(str(place), escape(words), jobs_shown, *map(_with_deviation, values))
    write_table(file, rows)
    out.print(table)
    log.info("written to %s", file)


def _repeated(jobs: Sequence[Job]) -> list[str]:
    varied = {word.partition("=")[0] for job in jobs for word in job.varied}
    return [key for key in REPEATED if key in varied]


def _with_deviation(value: tuple[float | None, float | None]) -> str:
    mean, deviation = value
    if mean is None:
        return "-"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.2f} M"


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
