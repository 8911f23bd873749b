"""How long calls take, measured in turns, so that a machine that slows down meanwhile slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch

Call: TypeAlias = Callable[[], object]
_LEAST, _MOST = 3, 1000  # rounds


class Latency(NamedTuple):
    """Seconds of one call: the median and the quartiles around it, of ``rounds`` of them."""

    median: float
    low: float
    high: float
    rounds: int


def in_turns(
    calls: Mapping[str, Call], *, seconds: float, device: torch.device, warmup: float = 0.0
) -> dict[str, Latency]:
    """Call each in turn for about ``seconds`` a call, after one call and ``warmup`` seconds that do not count.

    Work on a GPU is waited for.
    """
    for call in calls.values():
        end = time.perf_counter() + warmup
        while True:
            _timed(call, device)
            if time.perf_counter() >= end:
                break
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds * len(calls)
    for done in range(_MOST):
        if done >= _LEAST and time.perf_counter() >= end:
            break
        for name, call in calls.items():
            taken[name].append(_timed(call, device))
    return {name: _summary(times) for name, times in taken.items()}


def _timed(call: Call, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def _summary(times: list[float]) -> Latency:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(median, low, high, len(times))
