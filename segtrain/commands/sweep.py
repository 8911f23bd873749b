"""``segtrain -m``: a sweep over all combinations of values, one job after the other, with a leaderboard."""

import gc
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrain.commands.distributed import joined
from segtrain.commands.train import train
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import TrainConfig
from segtrain.config.spine import check_leaves, to_config
from segtrain.config.studies import SweepConfig, SweepOptions
from segtrain.config.words import quote
from segtrain.errors import SIGNALLED, ConfigError, ElsewhereError, Interrupted, SegtrainError, Stopped
from segtrain.run.folders import make_folder, numbered
from segtrain.run.leaderboard import Job, show_leaderboard
from segtrain.run.ledger import FILE, Ledger, entries_of, finish, hold, in_turn, key_of, unfinished
from segtrain.run.paired import verdict
from segtrain.run.plan import Plan, is_used, make_plan
from segtrain.run.results import VERDICT, write_page
from segtrain.storage import write_text
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.console import start_logging

if TYPE_CHECKING:
    from segtrain.runtime.world import World

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run all jobs; returns 0 if all succeeded, else 1 after the others are done."""
    options, arguments = own_options(arguments)
    if arguments.cfg:
        show("\n".join(" ".join(job.plan.overrides.words) for job in plan_jobs(arguments)))
        return 0
    with joined() as world, ExitStack() as stack:
        with world.first_goes_first() if world else nullcontext():
            jobs = plan_jobs(arguments)
            configs = check_jobs(jobs)
        if options.dry_run:
            tell = partial(show_jobs, jobs, arguments, fresh=options.fresh)
            return tell() if world is None else world.by_first(tell)

        def open_first() -> tuple[Path, list[dict[str, Any]]]:
            ledger = stack.enter_context(opened(jobs, arguments, fresh=options.fresh))
            return ledger.folder, ledger.entries()

        folder, entries = open_first() if world is None else world.by_first(open_first)
        give_folders(jobs, folder)
        ledger = Ledger(folder, key_of(jobs), arguments.overrides.words, jobs)
        ledger.take_over(entries)
        return run_all(ledger, configs, options, world)


def own_options(arguments: Arguments) -> tuple[SweepOptions, Arguments]:
    """Split the keys of the sweep from those of its jobs; raises `ConfigError` for a mistake in the former."""
    own, others = arguments.overrides.split(["sweep"])
    options = to_config(compose("sweep", own, config_dir=arguments.config_dir).job, SweepConfig).sweep
    return options, replace(arguments, words=others.words)


@contextmanager
def opened(jobs: Sequence[Job], arguments: Arguments, *, fresh: bool) -> Iterator[Ledger]:
    """Hold the folder of a sweep while the context is open: that of an unfinished one with these jobs, or a new one.

    Raises `ConfigError` where another process runs it, or a folder that the user chose has another sweep.
    """
    start_logging()
    folder = jobs[0].plan.folder.parent
    ledger = Ledger(folder, key_of(jobs), arguments.overrides.words, jobs)
    is_chosen = arguments.overrides.last("hydra.sweep.dir") is not None
    make_folder(folder if is_chosen else folder.parent, key="hydra.sweep.dir")
    with ExitStack() as stack:
        if is_chosen:
            stack.callback(hold(folder).release)
            begin(ledger, begun_before(ledger, is_chosen=True, fresh=fresh))
        else:
            with in_turn(folder.parent):  # of two starts of one line at once, one finds the sweep of the other
                found = begun_before(ledger, is_chosen=False, fresh=fresh)
                ledger.folder = found or make_sweep_folder(folder)
                stack.callback(hold(ledger.folder).release)
                begin(ledger, found)
        yield ledger


def begin(ledger: Ledger, found: Path | None) -> None:
    """Give the jobs their folders, and what became of them where a sweep of theirs was ``found``; write it down."""
    give_folders(ledger.jobs, ledger.folder)
    if found is not None:
        go_on(ledger)
    ledger.write()


def show_jobs(jobs: Sequence[Job], arguments: Arguments, *, fresh: bool) -> int:
    """Show what is to be run, and how long it takes; nothing is written."""
    from segtrain.commands.dry_run import dry_run

    ledger = Ledger(jobs[0].plan.folder.parent, key_of(jobs), arguments.overrides.words, jobs)
    found = begun_before(ledger, is_chosen=arguments.overrides.last("hydra.sweep.dir") is not None, fresh=fresh)
    if found is not None:
        give_folders(jobs, found)
        ledger.take_over(entries_of(found)["jobs"])
    return dry_run(jobs, None if found is None else str(found))


def begun_before(ledger: Ledger, *, is_chosen: bool, fresh: bool) -> Path | None:
    """Return the folder of the sweep that a ledger goes on with; None for a new one.

    Raises `ConfigError` for a folder that the user chose and another sweep has.
    """
    folder = ledger.folder
    if not is_chosen:
        others = folder.parent.iterdir() if folder.parent.is_dir() else ()
        return None if fresh else unfinished(others, ledger)
    if not (folder / FILE).is_file():
        return None
    if fresh or entries_of(folder)["key"] != ledger.key:
        raise ConfigError(
            f"hydra.sweep.dir={folder}: holds {'a sweep' if fresh else 'the sweep of other jobs'}, expected "
            f"{'none' if fresh else 'the same jobs'}; choose another folder, or remove it"
        )
    return folder


def go_on(ledger: Ledger) -> None:
    """Give the jobs what became of them before, and say it."""
    ledger.take_over(entries_of(ledger.folder)["jobs"])
    counts = Counter(job.state for job in ledger.jobs)
    told = ", ".join(f"{counts[state]} {state}" for state in ("finished", "interrupted", "waiting") if counts[state])
    log.info("going on with the sweep in %s: %s; sweep.fresh=true begins another", ledger.folder, told)


def run_all(ledger: Ledger, configs: Sequence[TrainConfig], options: SweepOptions, world: "World | None") -> int:
    """Run all jobs that are not finished, and rank them; of several ranks, the first does."""
    start_logging()
    jobs, ranking = ledger.jobs, Ranking.of(configs, options)
    note = ledger.write if world is None or world.is_first else lambda: None
    for job in jobs:
        log.info("job %d of %d: %s", job.number, len(jobs), " ".join(job.varied))
        if job.state == "finished":
            log.info("finished before, in %s", job.plan.folder)
            continue
        run_job(job, world, note)
        gc.collect()  # a model and its optimizer refer to each other; the next job needs their memory
    tell = partial(ranking.tell, jobs, ledger.folder)
    return tell() if world is None else world.by_first(tell)  # no rank ends before the first has said what failed


@dataclass(frozen=True)
class Ranking:
    """By what the jobs of a sweep are compared."""

    monitor: str
    has_one_loss: bool
    confidence: float

    @classmethod
    def of(cls, configs: Sequence[TrainConfig], options: SweepOptions) -> "Ranking":
        """Return what all configs have in common; warns where there is nothing."""
        monitor = configs[0].trainer.monitor.removeprefix("val/")
        has_one_loss = all(config.loss == configs[0].loss for config in configs)
        if monitor == "loss" and not has_one_loss:
            log.warning("the jobs have different losses, whose values cannot be compared: take trainer.monitor=val/iou")
        return cls(monitor, has_one_loss, options.confidence)

    def tell(self, jobs: Sequence[Job], folder: Path) -> int:
        """Show the leaderboard, and which jobs failed; returns the exit code."""
        show_leaderboard(jobs, self.monitor, folder, has_one_loss=self.has_one_loss)
        if said := verdict(jobs, self.monitor, self.confidence):
            write_text(folder / VERDICT, f"{said}\n")
            log.info("%s", said)
        log.info("what mattered: %s", write_page(folder, self.monitor, confidence=self.confidence))
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
            jobs.append(Job(number, varied, in_folder(plan, folder / str(number)), config_dir=arguments.config_dir))
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


def make_sweep_folder(folder: Path) -> Path:
    """Create the automatic folder of a sweep, with a number where a sweep of the same second has it."""
    for free in numbered(folder):
        with suppress(FileExistsError):
            free.mkdir()  # atomic: of two sweeps at once, one gets it
            break
    return free


def check_jobs(jobs: Sequence[Job]) -> list[TrainConfig]:
    """Return the configs of all jobs, leaves checked; raises `ConfigError` with the mistakes in all of them."""
    configs = [to_config(job.plan.job, TrainConfig) for job in jobs]
    if any(config.trainer.auto_resume for config in configs):
        raise ConfigError("trainer.auto_resume=true: is for single runs, and a sweep goes on by itself; leave it out")
    problems = dict.fromkeys(problem for config in configs for problem in check_leaves(config))
    if problems:
        raise ConfigError("\n".join(problems))
    return configs


def run_job(job: Job, world: "World | None", note: Callable[[], None]) -> None:
    """Train one job, or go on with it; a failure is logged and does not stop the sweep, a signal does.

    ``note`` writes down what has become of it.
    """
    job.state = "running"
    note()
    try:
        scores, job.parameters = train(plan_to_go_on(job, world), world)
    except Interrupted:  # a SegtrainError too: Ctrl-C ends the whole sweep
        leave(job, note)
        raise
    except ElsewhereError as error:
        if error.exit_code > SIGNALLED:  # as on the rank that was interrupted
            raise
        job.error = "failed on the first rank"
    except Stopped as error:
        job.state, job.error = "interrupted", str(error)
        log.warning("job %d %s", job.number, error)
    except SegtrainError as error:
        job.error = str(error).splitlines()[0]
        log.error("job %d failed: %s", job.number, error)
    except Exception as error:  # a bug, or a device out of memory: the other jobs may still succeed
        job.error = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        log.error("job %d failed:\n%s", job.number, traceback.format_exc())
    else:
        finish(job)
        job.scores = scores
    if job.state == "running":
        job.state = "failed"
    note()


def leave(job: Job, note: Callable[[], None]) -> None:
    """Note that a signal ends the sweep in this job."""
    job.state = "interrupted"
    note()
    log.info("the same line goes on with the sweep, from job %d", job.number)


def plan_to_go_on(job: Job, world: "World | None") -> Plan:
    """Return the plan of a job, which resumes what its folder holds of it."""

    def has_begun() -> bool:
        return is_used(job.plan.folder)

    if not (has_begun() if world is None else world.by_first(has_begun)):
        return job.plan
    with world.first_goes_first() if world else nullcontext():
        return make_plan(words_to_go_on(job), job.config_dir)


def words_to_go_on(job: Job) -> Overrides:
    """Return the words that resume a job in its folder."""
    return Overrides.of([f"resume={quote(str(job.plan.folder))}"])
