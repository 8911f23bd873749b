"""``segtrain launch``: a training as several processes, one for each GPU, with torchrun's launcher or as a job."""

import logging
import os
import signal
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from segtrain.commands import COMMANDS
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import LaunchConfig
from segtrain.config.spine import to_config
from segtrain.errors import SIGNALLED, ConfigError, KilledError, SegtrainError
from segtrain.runtime.cores import usable_cores
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def run(arguments: Arguments) -> int:
    """Run the command; words that launch.yaml lacks are the command line of each process."""
    own = [word for word in arguments.words if word.partition("=")[0] in LaunchConfig.__dataclass_fields__]
    words = [word for word in arguments.words if word not in own]
    job = compose("launch", Overrides.of(own).one_job(), config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, LaunchConfig)
    processes = number_of_processes(config)
    if config.executor in ("slurm", "local"):
        from segtrain.commands.submit import submit

        return submit(config, processes, training(words, arguments))
    words += ["-m"] * arguments.multirun
    if arguments.config_dir is not None:
        words += ["--config-dir", str(arguments.config_dir)]
    if config.executor == "ray":
        from segtrain.commands.on_ray import launch_on_ray

        return launch_on_ray(config, processes, words)
    return launch(config, processes, words)


def training(words: list[str], arguments: Arguments) -> Arguments:
    """Return the arguments of the training that words describe; raises `ConfigError` for another command."""
    command, *others = words if words and words[0] in COMMANDS else ["train", *words]
    if command not in ("train", "resume"):
        raise ConfigError(f"{command}: only trainings can be submitted; leave executor out, or call {command} alone")
    return replace(arguments, command=command, words=tuple(others))


def launch(config: LaunchConfig, processes: int, words: list[str]) -> int:
    """Start ``segtrain <words>`` in every process; returns 0, or the exit code of the first that fails."""
    import_heavy("torch.distributed.launcher.api")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher import api

    def end_ranks(number: int, _frame: object) -> None:
        """Let torch's launcher pass a signal on to all ranks."""
        raise SignalException(f"got {signal.Signals(number).name}", sigval=signal.Signals(number))

    # torch would start as many threads in each process as there are cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    plan = api.LaunchConfig(
        min_nodes=config.nodes,
        max_nodes=config.nodes,
        nproc_per_node=processes,
        run_id=config.job_id or uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=config.rendezvous or "localhost:0",
        max_restarts=config.restarts,
    )
    signal.signal(signal.SIGUSR1, end_ranks)  # as torch does for SIGTERM, SIGINT, SIGHUP and SIGQUIT
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # a rank that fails says why itself
    try:
        api.elastic_launch(plan, sys.executable)("-m", "segtrain", *words)
    except ChildFailedError as failed:
        code = exit_code(failed)
        rank, first = failed.get_first_failure()
        if code == SIGNALLED - first.exitcode:
            raise killed(rank, -first.exitcode) from None
        return code
    except SignalException as stopped:
        return SIGNALLED + int(stopped.sigval)
    return 0


def exit_code(failed: "ChildFailedError") -> int:
    """Return the exit code of the rank that failed first, or of one that has told the user of a mistake.

    Others may be aborted by torch when that one ends.
    """
    codes = [failure.exitcode for failure in failed.failures.values()]
    _, first = failed.get_first_failure()
    code = SegtrainError.exit_code if SegtrainError.exit_code in codes else first.exitcode
    return code if code > 0 else SIGNALLED - code


def killed(rank: int, number: int) -> KilledError:
    """Return what nobody else can say of a rank that a signal has killed."""
    why = " (if nobody did it, memory ran out)" if number == signal.SIGKILL else ""
    return KilledError(
        f"rank {rank} was killed by {signal.Signals(number).name}{why}; go on from the last checkpoint: segtrain "
        "launch ... resume=outputs/<name>/<time>",
        number,
    )


def number_of_processes(config: LaunchConfig) -> int:
    """Return how many processes to start on each machine; raises `ConfigError` for auto where nothing tells."""
    if config.nproc != "auto":
        return config.nproc
    if config.executor in ("slurm", "ray"):  # this machine may have GPUs too, and others
        raise ConfigError("nproc=auto: other machines than this one run it, expected a number; write nproc=4, say")
    import torch

    if found := torch.cuda.device_count():
        return found
    raise ConfigError("nproc=auto: is one process for each GPU, and this machine has none; write nproc=2, say")
