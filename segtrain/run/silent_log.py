"""The log of a process that is not the first of its job: it measures, and writes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from segtrain.loggers import NoLogger
from segtrain.run.log import RunLog
from segtrain.run.profiling import Clock
from segtrain.terminal.console import Display


class SilentLog(RunLog):
    """Takes what a training loop says, while another process writes the same to the run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logger = folder, NoLogger(folder)
        self.clock, self.display = Clock(), Display()
        self.steps = 0

    @contextmanager
    def running(self, step: int, total_steps: int) -> Iterator[None]:  # noqa: ARG002, as for every log
        """Start the clock."""
        self.restart_clock()
        yield

    def training(self, step: int, epoch: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        """Read the clock."""
        self.restart_clock()

    def position(self) -> int:
        """Nothing is written."""
        return 0

    def rewind(self, position: int) -> None:
        """Nothing is written."""
