"""``segtrain -m``: a sweep over all combinations of values, one job after the other, with a leaderboard."""

import gc
import logging
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segtrain.commands.distributed import joined
from segtrain.commands.train import train
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import TrainConfig
from segtrain.config.spine import check_leaves, to_config
from segtrain.config.words import quote
from segtrain.errors import SIGNALLED, ConfigError, ElsewhereError, Interrupted, SegtrainError
from segtrain.run.folders import make_folder, numbered
from segtrain.run.leaderboard import Job, show_leaderboard
from segtrain.run.plan import Plan, make_plan
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.console import start_logging

if TYPE_CHECKING:
    from segtrain.runtime.world import World

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run all jobs; returns 0 if all succeeded, else 1 after the others are done."""
    if arguments.cfg:
        show("\n".join(" ".join(job.plan.overrides.words) for job in plan_jobs(arguments)))
        return 0
    with joined() as world:
        with world.first_goes_first() if world else nullcontext():
            jobs = plan_jobs(arguments)
            configs = check_jobs(jobs)
        make = partial(sweep_folder_of, jobs, arguments)
        return run_all(jobs, configs, make() if world is None else world.by_first(make), world)


def run_all(jobs: Sequence[Job], configs: Sequence[TrainConfig], folder: Path, world: "World | None") -> int:
    """Run all jobs in their folders below ``folder``, and rank them; of several ranks, the first does."""
    start_logging()
    ranking = Ranking.of(configs)
    give_folders(jobs, folder)
    for job in jobs:
        log.info("job %d of %d: %s", job.number, len(jobs), " ".join(job.varied))
        run_job(job, world)
        gc.collect()  # a model and its optimizer refer to each other; the next job needs their memory
    tell = partial(ranking.tell, jobs, folder)
    return tell() if world is None else world.by_first(tell)  # no rank ends before the first has said what failed


@dataclass(frozen=True)
class Ranking:
    """By what the jobs of a sweep are compared."""

    monitor: str
    has_one_loss: bool

    @classmethod
    def of(cls, configs: Sequence[TrainConfig]) -> "Ranking":
        """Return what all configs have in common; warns where there is nothing."""
        monitor = configs[0].trainer.monitor.removeprefix("val/")
        has_one_loss = all(config.loss == configs[0].loss for config in configs)
        if monitor == "loss" and not has_one_loss:
            log.warning("the jobs have different losses, whose values cannot be compared: take trainer.monitor=val/iou")
        return cls(monitor, has_one_loss)

    def tell(self, jobs: Sequence[Job], folder: Path) -> int:
        """Show the leaderboard, and which jobs failed; returns the exit code."""
        show_leaderboard(jobs, self.monitor, folder, has_one_loss=self.has_one_loss)
        failed = [str(job.number) for job in jobs if job.error]
        if failed:
            sys.stderr.write(f"segtrain: {len(failed)} of {len(jobs)} jobs failed: {', '.join(failed)}; see above\n")
        return 1 if failed else 0


def plan_jobs(arguments: Arguments) -> list[Job]:
    """Expand the grid to jobs; raises `ConfigError` with the mistakes in all of them."""
    expanded = arguments.overrides.jobs()
    folder = sweep_folder(*expanded[0], arguments.config_dir)
    jobs = []
    problems: dict[str, None] = {}
    for number, (overrides, varied) in enumerate(expanded, 1):
        try:
            plan = make_plan(overrides, arguments.config_dir)
        except SegtrainError as error:
            problems.update(dict.fromkeys(str(error).splitlines()))
        else:
            jobs.append(Job(number, varied, in_folder(plan, folder / str(number))))
    if problems:
        raise ConfigError("\n".join(problems))
    return jobs


def in_folder(plan: Plan, folder: Path) -> Plan:
    """Return the plan with that folder, and the override that sets it."""
    _, others = plan.overrides.split(["hydra"])
    overrides = others + Overrides.of([f"hydra.run.dir={quote(str(folder))}"])
    return replace(plan, folder=folder, overrides=overrides, folder_is_chosen=True)


def sweep_folder(overrides: Overrides, varied: Sequence[str], config_dir: Path | None) -> Path:
    """Return the folder of the sweep, from its first job: the folder of its name if all jobs share one."""
    composed = compose("train", overrides, config_dir=config_dir)
    is_named = any(word.startswith("name=") and word not in varied for word in overrides.words)
    has_folder = overrides.last("hydra.sweep.dir") is not None
    return composed.run_dir if is_named and not has_folder else composed.sweep_dir


def give_folders(jobs: Sequence[Job], folder: Path) -> None:
    """Give each job the folder of its number below ``folder``."""
    for job in jobs:
        job.plan = in_folder(job.plan, folder / str(job.number))


def sweep_folder_of(jobs: Sequence[Job], arguments: Arguments) -> Path:
    """Create the folder of these jobs."""
    is_chosen = arguments.overrides.last("hydra.sweep.dir") is not None
    return make_sweep_folder(jobs[0].plan.folder.parent, is_chosen=is_chosen)


def make_sweep_folder(folder: Path, *, is_chosen: bool) -> Path:
    """Create the folder of a sweep; if automatic, with a number where a sweep of the same second has it."""
    if is_chosen:
        make_folder(folder, key="hydra.sweep.dir")
        return folder
    make_folder(folder.parent, key="hydra.sweep.dir")
    for free in numbered(folder):
        with suppress(FileExistsError):
            free.mkdir()  # atomic: of two sweeps at once, one gets it
            break
    return free


def check_jobs(jobs: Sequence[Job]) -> list[TrainConfig]:
    """Return the configs of all jobs, leaves checked; raises `ConfigError` with the mistakes in all of them."""
    configs = [to_config(job.plan.job, TrainConfig) for job in jobs]
    if any(config.trainer.auto_resume for config in configs):
        raise ConfigError("trainer.auto_resume=true: is for single runs, and -m starts several; leave it out")
    problems = dict.fromkeys(problem for config in configs for problem in check_leaves(config))
    if problems:
        raise ConfigError("\n".join(problems))
    return configs


def run_job(job: Job, world: "World | None") -> None:
    """Train one job; a failure is logged and does not stop the sweep, a signal does."""
    started = time.monotonic()
    try:
        job.scores, job.parameters = train(job.plan, world)
        job.seconds = time.monotonic() - started
    except Interrupted:  # a SegtrainError too: Ctrl-C ends the whole sweep
        raise
    except ElsewhereError as error:
        if error.exit_code > SIGNALLED:  # as on the rank that was interrupted
            raise
        job.error = "failed on the first rank"
    except SegtrainError as error:
        job.error = str(error).splitlines()[0]
        log.error("job %d failed: %s", job.number, error)
    except Exception as error:  # a bug, or a device out of memory: the other jobs may still succeed
        job.error = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        log.error("job %d failed:\n%s", job.number, traceback.format_exc())
