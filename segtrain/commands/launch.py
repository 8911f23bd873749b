"""``segtrain launch``: start a training as several processes, one for each GPU, with torchrun's launcher."""

import logging
import os
import sys
import uuid
from typing import TYPE_CHECKING, Literal

import yaml

from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import LaunchConfig
from segtrain.config.spine import to_config
from segtrain.errors import SIGNALLED, ConfigError, SegtrainError
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
    words += ["-m"] * arguments.multirun
    if arguments.config_dir is not None:
        words += ["--config-dir", str(arguments.config_dir)]
    return launch(to_config(job, LaunchConfig), words)


def launch(config: LaunchConfig, words: list[str]) -> int:
    """Start ``segtrain <words>`` in every process; returns 0, or the exit code of the first that fails."""
    import_heavy("torch.distributed.launcher.api")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher import api

    processes = number_of_processes(config.nproc)
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
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",  # it passes them on
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # a rank that fails says why itself
    try:
        api.elastic_launch(plan, sys.executable)("-m", "segtrain", *words)
    except ChildFailedError as failed:
        return exit_code(failed)
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


def number_of_processes(nproc: int | Literal["auto"]) -> int:
    """Return how many processes to start on this machine; raises `ConfigError` for auto without a GPU."""
    import torch

    if nproc != "auto":
        return nproc
    if found := torch.cuda.device_count():
        return found
    raise ConfigError("nproc=auto: is one process for each GPU, and this machine has none; write nproc=2, say")
