"""Profiling of training steps with torch.profiler, and measuring speed and waiting for data."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from segtrain.storage import write_text

log = logging.getLogger(__name__)

T = TypeVar("T")
_SKIPPED = 4  # steps that are not typical: they choose kernels and fill caches


class StepProfiler(AbstractContextManager["StepProfiler"]):
    """Profiles some steps of an epoch; writes ``profile.txt`` and ``trace.json`` (for chrome://tracing).

    With ``steps=0`` it does nothing.
    """

    def __init__(self, steps: int, folder: Path) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        plan = schedule(wait=_SKIPPED - 1, warmup=1, active=max(1, steps), repeat=1)
        self.profile = profile(activities=activities, schedule=plan, on_trace_ready=self._write) if steps else None
        self.folder = folder

    def __enter__(self) -> "StepProfiler":
        if self.profile:
            self.profile.__enter__()  # type: ignore[no-untyped-call]
        return self

    def step(self) -> None:
        """Mark the end of a step."""
        if self.profile:
            self.profile.step()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.profile:
            self.profile.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]

    def _write(self, recorded: profile) -> None:
        write_text(self.folder / "profile.txt", recorded.key_averages().table(sort_by="self_cpu_time_total"))
        recorded.export_chrome_trace(str(self.folder / "trace.json"))
        log.info("profile: %s and trace.json beside it", self.folder / "profile.txt")


class Clock:
    """Measures images per second, and the fraction of time spent waiting for data, since the last reading."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start a new reading."""
        self.started, self.waited, self.images = time.perf_counter(), 0.0, 0

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over items, adding up the time that each one takes to come."""
        iterator = iter(items)
        while True:
            before = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.waited += time.perf_counter() - before
            yield item

    def read(self) -> dict[str, float]:
        """Return ``images_per_second``, ``data_share`` (0 to 1) and ``seconds``, and start a new reading."""
        elapsed = max(time.perf_counter() - self.started, 1e-9)
        reading = {"images_per_second": self.images / elapsed, "data_share": self.waited / elapsed, "seconds": elapsed}
        self.restart()
        return reading
