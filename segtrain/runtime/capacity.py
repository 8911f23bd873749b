"""The memory that this machine has left for a process."""

import os
from contextlib import suppress
from pathlib import Path

_SYSTEM = Path("/")


def available_memory(root: Path = _SYSTEM) -> int:
    """Return the bytes that can be used without swapping, within the limit of a container if there is one."""
    free = _machine(root)
    limit = _container(root)
    return free if limit is None else max(0, min(free, limit))


def _machine(root: Path) -> int:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # all there is: macOS does not say what is free


def _container(root: Path) -> int | None:
    """Read what cgroups of version 2 or 1 leave; None without a limit. What they call used may be cached files."""
    groups = root / "sys/fs/cgroup"
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: there is no limit
            return int((groups / limit).read_text(encoding="ascii")) - _pinned(groups, used)
    return None


def _pinned(groups: Path, used: str) -> int:
    """Return the bytes in use without those of files, which the system gives up when memory is short."""
    stat = (groups / used).with_name("memory.stat").read_text(encoding="ascii")
    entries = dict(line.split() for line in stat.splitlines())
    cached = int(entries.get("inactive_file", entries.get("total_inactive_file", 0)))
    return int((groups / used).read_text(encoding="ascii")) - cached
