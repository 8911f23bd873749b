"""What each process of a submitted job does: join the others, train, and be queued again when it is stopped."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType

from submitit.core.job_environment import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from segtrain.errors import SIGNALLED
from segtrain.runtime.cores import usable_cores

_PREEMPTION = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
_STOP = signal.SIGUSR1  # at which the training loop saves and ends
_GRACE = 600  # seconds that a process waits for Slurm to end it


class TrainingJob:
    """``segtrain <words>`` in one of a job's processes; submitit pickles it, and calls it anew after each requeue.

    ``name`` is unlike that of any other job: by it the run is found again. ``sharing`` is how many processes share
    the cores that each of them sees.
    """

    def __init__(self, words: Sequence[str], *, name: str, sharing: int) -> None:
        self.words, self.name, self.sharing = tuple(words), name, sharing
        self.is_preempted = False

    def __call__(self) -> None:
        """Run the command line; leaves with its exit code unless that is 0."""
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        if JobEnvironment().num_nodes == 1:
            os.environ["MASTER_ADDR"] = "localhost"  # a machine's own name need not lead to it
        os.environ["LOCAL_WORLD_SIZE"] = str(self.sharing)  # by which the loader's workers divide the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // self.sharing)))
        # any start may be a second one: a cluster starts jobs again too, after a machine has failed
        os.environ.update(TORCHELASTIC_RUN_ID=self.name, TORCHELASTIC_RESTART_COUNT="1")
        requeue = signal.signal(_PREEMPTION, self._stop)
        code = run_command_line(self.words)
        signal.signal(_PREEMPTION, requeue)
        if code and (self.is_preempted or code == SIGNALLED + _STOP):  # the signal may have reached others alone
            signal.raise_signal(_PREEMPTION)  # in the first process submitit queues the job again, and leaves
        elif code == SIGNALLED + signal.SIGTERM and JobEnvironment().cluster == "slurm":
            time.sleep(_GRACE)  # Slurm queues no job again that ends by itself; a cancelled one is killed meanwhile
        if code:
            sys.exit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Return what submitit calls after the requeue: the same, as the run folder holds all that was trained."""
        self.is_preempted = False
        return DelayedSubmission(self)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.is_preempted = True
        if signal.getsignal(_STOP) == signal.SIG_DFL:  # outside of the loop there is nothing to save
            sys.exit(SIGNALLED + _STOP)
        signal.raise_signal(_STOP)


def run_command_line(words: Sequence[str]) -> int:
    """Do what ``python -m segtrain <words>`` does, in this process; returns the exit code."""
    sys.argv = ["segtrain", *words]
    # By name, as it is a floor above. Not its entry point: in a process of several that one leaves at once where a run
    # was stopped, and submitit would not queue the job again.
    cli = import_module("segtrain.cli")
    cli.let_import_from(Path.cwd())
    code: int = cli.main(list(words))
    return code
