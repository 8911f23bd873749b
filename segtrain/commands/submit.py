"""Submitting trainings by submitit: to Slurm, or as jobs in the background of this machine."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from shutil import which
from typing import TYPE_CHECKING, Any

from segtrain.commands.sweep import Ranking, check_jobs, opened, own_options, plan_jobs, show_jobs, words_to_go_on
from segtrain.config.schema import LaunchConfig
from segtrain.errors import ConfigError
from segtrain.run.folders import holder, is_locked
from segtrain.run.leaderboard import Job
from segtrain.run.ledger import Ledger, finish
from segtrain.run.plan import Plan, is_used, make_plan
from segtrain.run.scores import best_scores
from segtrain.suggest import did_you_mean
from segtrain.terminal.arguments import Arguments
from segtrain.terminal.console import start_logging

if TYPE_CHECKING:
    from submitit import Job as Handle
    from submitit import LocalExecutor, SlurmExecutor

    from segtrain.commands.job import TrainingJob

log = logging.getLogger(__name__)

_REQUEUES = 10_000  # at the end of the time; each time the run has come further
_POLL = 0.5  # seconds
_OWN_OPTIONS = {"nodes": "nodes", "ntasks_per_node": "nproc", "time": "time", "partition": "partition"}
"""Options of sbatch that have keys of their own, and those keys."""


def submit(config: LaunchConfig, processes: int, arguments: Arguments) -> int:
    """Submit one run and return, or one job for each run of a sweep, which are awaited and ranked.

    Raises `ConfigError` for mistakes in any of them, and where nothing can be submitted.
    """
    try:
        import submitit  # noqa: F401 - the extra is there
    except ImportError:
        raise ConfigError(f"executor={config.executor}: needs submitit; run pip install 'segtrain[slurm]'") from None
    start_logging()
    if arguments.multirun:
        return submit_sweep(config, processes, arguments)
    plan = make_plan(arguments.overrides, arguments.config_dir)
    job = Job(1, (), plan, config_dir=arguments.config_dir)
    check_jobs([job])
    (task,) = tasks([job], sharing=_sharing(config, processes))
    with outside_of_jobs():
        if config.executor == "slurm":
            handle = slurm_executor(config, processes, uses_gpus=_uses_gpus(plan)).submit(task)
        else:
            handle = local_executor(config, processes, gpus(processes) if _uses_gpus(plan) else []).submit(task)
    tell(handle)
    log.info("when its time is over, it is saved, queued again, and goes on from there")
    return 0


def submit_sweep(config: LaunchConfig, processes: int, arguments: Arguments) -> int:
    """Submit a job for each combination that is not finished, await them, and rank all; returns 1 if any has failed."""
    options, arguments = own_options(arguments)
    jobs = plan_jobs(arguments)
    configs = check_jobs(jobs)
    if options.dry_run:
        return show_jobs(jobs, arguments, fresh=options.fresh)
    ranking = Ranking.of(configs, options)
    with opened(jobs, arguments, fresh=options.fresh) as ledger:
        waiting = [job for job in jobs if job.state != "finished"]
        refuse_running(waiting)
        for job in waiting:
            if is_used(job.plan.folder):
                job.plan = replace(job.plan, overrides=words_to_go_on(job))
        with outside_of_jobs():
            handles = submitted(waiting, config, processes, ledger)
        for job, handle in zip(waiting, handles, strict=True):
            job.error = _failure(handle)
            if job.error:
                job.state, job.scores = "failed", best_scores(job.plan.folder)
            else:
                finish(job)
            ledger.write()
        return ranking.tell(jobs, ledger.folder)


def submitted(jobs: Sequence[Job], config: LaunchConfig, processes: int, ledger: Ledger) -> list["Handle[None]"]:
    """Submit jobs; returns what awaits each: of Slurm, that of an earlier start too, if it is still queued or runs."""
    sharing = _sharing(config, processes)
    uses_gpus = any(_uses_gpus(job.plan) for job in jobs)
    if config.executor == "slurm":
        handles = {job.number: handle for job in jobs if (handle := queued(job, config))}
        new = [job for job in jobs if job.number not in handles]
        if new:
            work = tasks(new, sharing=sharing)
            array = slurm_executor(config, processes, uses_gpus=uses_gpus).submit_array(work)
            handles |= {job.number: handle for job, handle in zip(new, array, strict=True)}
        for job in jobs:
            job.handle, job.state = handles[job.number].job_id, "running"
            tell(handles[job.number])
        ledger.write()
        return [handles[job.number] for job in jobs]
    at_once = config.jobs or 1
    found = gpus(at_once * processes) if uses_gpus else []

    def start(task: "TrainingJob", place: int) -> "Handle[None]":
        handle = local_executor(config, processes, found[place * processes :][:processes]).submit(task)
        tell(handle)
        return handle

    return in_turns(tasks(jobs, sharing=sharing), start, at_once=at_once)


def queued(job: Job, config: LaunchConfig) -> "Handle[None] | None":
    """Return a job of Slurm that an earlier start has submitted, if it is not done; None without any."""
    from submitit import SlurmJob

    if job.handle is None:
        return None
    handle: Handle[None] = SlurmJob(config.logs, job.handle)
    return None if handle.done() else handle


def refuse_running(jobs: Sequence[Job]) -> None:
    """Raise `ConfigError` where a process trains in the folder of a job: one that outlived what had submitted it."""
    for job in jobs:
        if job.handle is None and is_locked(job.plan.folder):
            raise ConfigError(
                f"job {job.number}: {holder(job.plan.folder)} still trains in {job.plan.folder}; wait until it ends, "
                "or stop it"
            )


def tasks(jobs: Sequence[Job], *, sharing: int) -> list["TrainingJob"]:
    """Return what the processes of each run's job have to do."""
    from segtrain.commands.job import TrainingJob

    found = []
    for job in jobs:
        flags = [] if job.config_dir is None else ["--config-dir", str(job.config_dir)]
        words = [*job.plan.overrides.words, *flags]
        found.append(TrainingJob(words, name=uuid.uuid4().hex, sharing=sharing))
    return found


def in_turns(
    work: Sequence["TrainingJob"], start: Callable[["TrainingJob", int], "Handle[None]"], *, at_once: int
) -> list["Handle[None]"]:
    """Start all, ``at_once`` of them running at a time, each with a place that is free; returns when all are done."""
    places: list[Handle[None] | None] = [None] * at_once
    handles = []
    for task in work:
        while all(handle is not None and not handle.done() for handle in places):
            time.sleep(_POLL)
        place = next(place for place, handle in enumerate(places) if handle is None or handle.done())
        places[place] = start(task, place)
        handles.append(places[place])
    while not all(handle.done() for handle in handles if handle):
        time.sleep(_POLL)
    return [handle for handle in handles if handle]


def slurm_executor(config: LaunchConfig, processes: int, *, uses_gpus: bool) -> "SlurmExecutor":
    """Return submitit's executor for Slurm, one GPU for each process; raises `ConfigError` where there is no Slurm."""
    from submitit import SlurmExecutor

    if not all(map(which, ("sbatch", "srun"))):
        raise ConfigError(
            "executor=slurm: this machine has no sbatch and srun, expected one of a Slurm cluster; submit from its "
            "login node, or try executor=local here"
        )
    options = config.slurm or {}
    known = SlurmExecutor._valid_parameters()
    problems = [
        f"slurm.{name}: has a key of its own; write {_OWN_OPTIONS[name]}=..."
        for name in options
        if name in _OWN_OPTIONS
    ]
    problems += [
        f"slurm.{name}: no option of sbatch that is known{did_you_mean(name, known)}"
        for name in options
        if name not in known
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    executor = SlurmExecutor(config.logs, max_num_timeout=_REQUEUES)
    executor.update_parameters(
        **{
            "job_name": "segtrain",
            "nodes": config.nodes,
            "ntasks_per_node": processes,
            "gpus_per_node": processes if uses_gpus and not {"gres", "gpus_per_task"} & set(options) else None,
            "time": config.time,
            "partition": config.partition,
            "stderr_to_stdout": True,
            "array_parallelism": config.jobs or 256,
            "srun_args": ["--kill-on-bad-exit=1"],  # or the other processes wait for one that has failed
            "additional_parameters": {"requeue": True},  # by Slurm itself too, after a machine has failed
            **options,
        }
    )
    return executor


def local_executor(config: LaunchConfig, processes: int, visible: Sequence[int]) -> "LocalExecutor":
    """Return submitit's executor for this machine; its job sees these GPUs."""
    from submitit import LocalExecutor

    if config.nodes > 1:
        raise ConfigError(f"nodes={config.nodes}: executor=local is this machine alone, expected 1; leave nodes out")
    executor = LocalExecutor(config.logs, max_num_timeout=_REQUEUES)
    executor.update_parameters(
        timeout_min=config.time,
        tasks_per_node=processes,
        gpus_per_node=len(visible),
        visible_gpus=list(visible),
        stderr_to_stdout=True,
    )
    return executor


def gpus(count: int) -> list[int]:
    """Return the numbers of this machine's GPUs, none without any; raises `ConfigError` for fewer than ``count``."""
    import torch

    found = torch.cuda.device_count()
    if 0 < found < count:
        raise ConfigError(f"{count} processes at once, one GPU each, but there are {found}; lower jobs or nproc")
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [int(name) for name in named] if all(map(str.isdecimal, named)) else list(range(found))


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide the job that this process may be in itself, and say in one line what sbatch refuses."""
    from submitit.core.utils import FailedJobError
    from submitit.helpers import clean_env

    try:
        with clean_env():
            yield
    except FailedJobError as error:
        raise ConfigError(f"executor=slurm: sbatch refused the job: {' '.join(str(error).split())[-300:]}") from error


def tell(handle: "Handle[None]") -> None:
    """Log a job's number and where it prints."""
    log.info("job %s prints to %s", handle.job_id, handle.paths.stdout)


def _sharing(config: LaunchConfig, processes: int) -> int:
    """Return how many processes share the cores that each of them sees: Slurm gives each process its own."""
    return 1 if config.executor == "slurm" else processes * (config.jobs or 1)


def _uses_gpus(plan: Plan) -> bool:
    return plan.job["device"] not in ("cpu", "mps")


def _failure(handle: "Handle[None]") -> str:
    """Await a job; returns why it failed, empty if it did not."""
    error: Any = handle.exception()
    return "" if error is None else f"failed; see {handle.paths.stdout}"
