"""Why a run is saved and left before its end: a signal, its time is over, or a file in its folder says so."""

import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segtrain.config.durations import seconds_of
from segtrain.errors import ElsewhereError, Interrupted, SegtrainError, Stopped
from segtrain.runtime.signals import StopRequest
from segtrain.runtime.world import ALONE, World

STOP = "STOP"
"""The file in a run's folder that stops it."""
_TIME, _FILE, _SIGNAL = 1, 2, 100  # reasons as numbers, of which ranks take the greatest; a signal's is added
_LOOKS = 1.0  # seconds from one look for the file to the next


class Stopping:
    """Tells whether a run is to stop, and why.

    A signal came; ``max_time`` is over, minutes or a text such as ``2h30m``, counted from `listening`; or there is a
    file ``STOP`` in the folder, which is removed when the run stops.
    """

    def __init__(self, folder: Path, *, max_time: float | str | None = None, world: World = ALONE) -> None:
        self.folder, self.max_time, self.world = folder, max_time, world
        self.limit = math.inf if max_time is None else seconds_of(max_time)
        self.signals = StopRequest(is_said=world.is_first)
        self.began, self.looked = time.monotonic(), -math.inf

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch signals while the context is open, and start the clock."""
        self.began = time.monotonic()
        with self.signals.listening():
            yield

    def reason(self) -> int:
        """Return why this rank is to stop, as a number for `World.most`; 0: it is not."""
        if self.signals.signal_number is not None:
            return _SIGNAL + self.signals.signal_number
        if self.world.is_first and self._finds_file():
            return _FILE
        return _TIME if time.monotonic() - self.began >= self.limit else 0

    def _finds_file(self) -> bool:
        now = time.monotonic()
        if now - self.looked < _LOOKS:  # not at every step: a folder may be far away
            return False
        self.looked = now
        return (self.folder / STOP).exists()

    def error(self, reason: int, step: int) -> SegtrainError:
        """Return what a run raises that stops for a reason, once it is saved; removes the file ``STOP``."""
        why = {_TIME: f" (trainer.max_time={self.max_time} is over)", _FILE: f" (found {STOP})"}.get(reason, "")
        if self.world.is_first:
            (self.folder / STOP).unlink(missing_ok=True)
        said = f"stopped at step {step}{why}; go on with: {self.resume_command()}"
        stopped = Interrupted(said, reason - _SIGNAL) if reason > _SIGNAL else Stopped(said)
        return stopped if self.world.is_first else ElsewhereError(stopped.exit_code)

    def resume_command(self) -> str:
        """Return the command that goes on with this run, on as many ranks."""
        folder = shlex.quote(str(self.folder))
        ranks = self.world.size
        return f"segtrain resume {folder}" if ranks == 1 else f"segtrain launch nproc={ranks} resume={folder}"
