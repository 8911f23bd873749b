"""Measurements of a training's settings on this machine, each in a process of its own."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from segtrain.build.tuning.measure import Kind, measure_loader, measure_step
from segtrain.build.tuning.processes import Failure, in_process
from segtrain.build.tuning.search import Measured
from segtrain.build.tuning.settings import Facts, Settings, with_settings
from segtrain.errors import ShortOfMemoryError

T = TypeVar("T")

_AT_LEAST = 5.0  # seconds that a measurement may take, however little time is left
_AT_FIRST = 600.0  # and that of the settings to begin with


class Measuring(Protocol):
    """What measures settings; ``facts`` are there after the first step that was measured."""

    facts: Facts | None

    def step(self, settings: Settings, *, brief: bool = False) -> Measured:
        """Measure the step; ``brief`` is for its memory alone."""

    def loader(self, settings: Settings) -> Measured:
        """Measure the loader."""


class Machine:
    """Measures settings of a job for about ``seconds`` each; ``left`` says how long one may take in all.

    ``saves`` has the peak of memory include a checkpoint. What the user can fix in the job itself is raised, and so is
    a bug; of other settings both are a result without a rate.
    """

    def __init__(
        self, job: Mapping[str, Any], kind: Kind, *, seconds: float, left: Callable[[], float], saves: bool
    ) -> None:
        self.job, self.kind, self.seconds, self.left, self.saves = job, kind, seconds, left, saves
        self.facts: Facts | None = None
        self._reads = False

    def step(self, settings: Settings, *, brief: bool = False) -> Measured:
        """Measure the step; ``brief`` is for its memory alone."""
        job, seconds = with_settings(self.job, settings), 0.0 if brief else self.seconds
        with TemporaryDirectory(prefix="segtrain-") as folder:  # here: a process that is killed cannot remove it
            work = partial(measure_step, job, self.kind, Path(folder), seconds, saves=self.saves)
            found, took = self._timed(work, is_later=self.facts is not None)
        if isinstance(found, Failure):
            return self._problem(found, raises=self.facts is None)
        measured, facts = found
        self.facts = self.facts or facts
        return replace(measured, seconds=took)

    def loader(self, settings: Settings) -> Measured:
        """Measure the loader."""
        work = partial(measure_loader, with_settings(self.job, settings), self.seconds)
        found, took = self._timed(work, is_later=self._reads)
        if isinstance(found, Failure):
            return self._problem(found, raises=not self._reads)
        self._reads = True
        return replace(found, seconds=took)

    def _timed(self, work: Callable[[], T], *, is_later: bool) -> tuple[T | Failure, float]:
        """Do work in a process; returns its result with the seconds that it took."""
        start = time.monotonic()
        limit = max(self.left(), _AT_LEAST) if is_later else _AT_FIRST
        found = in_process(work, seconds=limit)
        return found, time.monotonic() - start

    def _problem(self, failure: Failure, *, raises: bool) -> Measured:
        mistake = failure.mistake
        if raises and mistake is not None and not isinstance(mistake, ShortOfMemoryError):
            raise type(mistake)(str(mistake))
        if raises and failure.bug is not None:
            raise RuntimeError(f"a measurement failed\n{failure.bug}")
        return Measured(problem=failure.reason)
