"""Logger that kills its process, for `segtrain verify-resume`."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from segtrain.config.signature import Range
from segtrain.loggers.base import NoLogger


class Crash(NoLogger):
    """Kills the process by SIGKILL when it logs a training step from ``step`` on: nothing more is written or said.

    The step is in metrics.jsonl then, and in no checkpoint.
    """

    def __init__(self, folder: Path, *, step: Annotated[int, Range(low=1)]) -> None:
        super().__init__(folder)
        self.step = step

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write nothing, and end the process if it is time."""
        if step >= self.step and any(name.startswith("train/") for name in values):
            os.kill(os.getpid(), signal.SIGKILL)
