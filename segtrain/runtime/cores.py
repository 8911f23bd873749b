"""The number of processor cores that this process may use."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
MOST_WORKERS = 8  # processes that read ahead: more rarely help, and each takes memory


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Return the cores of this process: those it may run on, within the quota of its container if it has one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _quota(cgroups: Path) -> float | None:
    """Read the quota of a container in cores, from version 2 or 1 of cgroups; None without one."""
    with suppress(OSError, ValueError):
        given, period = (cgroups / "cpu.max").read_text(encoding="utf-8").split()
        return None if given == "max" else int(given) / int(period)
    with suppress(OSError, ValueError):
        folder = cgroups / "cpu"
        given, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
        return None if int(given) < 0 else int(given) / int(period)
    return None


def reading_workers(cores: int | None = None) -> int:
    """Return how many processes should read ahead: one for each core, divided among the ranks on this machine."""
    ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(1, min(MOST_WORKERS, (usable_cores() if cores is None else cores) // ranks))
