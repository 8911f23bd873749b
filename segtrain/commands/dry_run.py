"""``segtrain -m ... sweep.dry_run=true``: the jobs of a sweep, and the time that they take."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from segtrain.errors import SegtrainError
from segtrain.run.leaderboard import REPEATED, Job
from segtrain.run.status import read_status
from segtrain.terminal.console import out, start_logging
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.build.estimate import Estimate

_AS_FAST = (*REPEATED, "name", "optimizer.lr", "optimizer.weight_decay", "optimizer.encoder_lr_factor")
"""Keys that change nothing of a training's time: jobs that differ in them alone are timed once."""


@dataclass(frozen=True)
class Row:
    """What is expected of a job: None where it is not known, ``seconds`` those that it still takes."""

    parameters: int | None
    steps: int | None
    seconds: float | None
    source: str


def dry_run(jobs: Sequence[Job], found: str | None) -> int:
    """Show the jobs, the states of those that an unfinished sweep ``found`` has, and the time that all take.

    Returns 1 if one of them cannot be built.
    """
    start_logging()
    import_heavy("segtrain.build.estimate")
    from segtrain.build.estimate import STEPS

    rows = expected(jobs)
    table = Table(title=f"{len(jobs)} jobs", title_justify="left")
    for name in ("job", "varied", "state", "parameters", "steps", "time", "from"):
        table.add_column(name, justify="left" if name in ("varied", "from") else "right", overflow="fold")
    for job, row in zip(jobs, rows, strict=True):
        size = "-" if row.parameters is None else f"{row.parameters / 1e6:.2f} M"
        steps = "-" if row.steps is None else str(row.steps)
        words = (str(job.number), " ".join(job.varied), job.state, size, steps, shown(row.seconds), row.source)
        table.add_row(*map(escape, words))
    out.print(table)
    known = [row.seconds for row in rows if row.seconds is not None]
    left = [job for job in jobs if job.state != "finished"]
    if found:
        out.print(f"this line goes on with {found}", markup=False, soft_wrap=True)
    out.print(
        f"{len(left)} of {len(jobs)} jobs to run, one after the other about {shown(sum(known))} on this machine; "
        f"measured is {STEPS} steps with their data and a part of a validation, without checkpoints and pictures",
        markup=False,
        soft_wrap=True,
    )
    return 1 if any(row.seconds is None for row in rows) else 0


def expected(jobs: Sequence[Job]) -> list[Row]:
    """Return what is expected of each job: by jobs that are finished, or by a measurement of one that is as fast."""
    done: dict[str, list[Job]] = {}
    for job in jobs:
        if job.state == "finished" and job.seconds is not None:
            done.setdefault(kind_of(job.plan.job), []).append(job)
    measured: dict[str, tuple[int, Estimate | str]] = {}
    return [_row(job, done.get(kind_of(job.plan.job), []), measured) for job in jobs]


def _row(job: Job, done: Sequence[Job], measured: "dict[str, tuple[int, Estimate | str]]") -> Row:
    status = read_status(job.plan.folder) if job.state == "interrupted" else None
    left = 1 - status.step / status.steps if status and status.steps else 1.0
    if job.state == "finished":
        return Row(job.parameters, None, 0.0, "")
    if done:
        mean = sum(other.seconds or 0.0 for other in done) / len(done)
        numbers = ", ".join(str(other.number) for other in done)
        return Row(done[0].parameters, None, left * mean, f"job{'s' * (len(done) > 1)} {numbers}, which ended")
    kind = kind_of(job.plan.job)
    if kind not in measured:
        measured[kind] = (job.number, _measured(job))
    number, found = measured[kind]
    if isinstance(found, str):
        return Row(None, None, None, found)
    source = "measured" if number == job.number else f"measured as job {number}"
    return Row(found.parameters, found.steps, left * found.seconds, source)


def _measured(job: Job) -> "Estimate | str":
    from segtrain.build.estimate import estimate

    try:
        return estimate(job.plan.job)
    except SegtrainError as error:
        return f"cannot be built: {str(error).splitlines()[0]}"


def kind_of(job: Mapping[str, Any]) -> str:
    """Return what the time of a training depends on: its config without keys that change nothing of it."""
    kept = deepcopy(dict(job))
    for key in _AS_FAST:
        *parents, last = key.split(".")
        node: Any = kept
        with suppress(KeyError, TypeError):
            for parent in parents:
                node = node[parent]
            del node[last]
    return json.dumps(kept, sort_keys=True, default=str)


def shown(seconds: float | None) -> str:
    """Write a time as hours, minutes and seconds."""
    return "-" if seconds is None else str(timedelta(seconds=math.ceil(seconds)))
