"""What a run ran on, as its folder says: the data, git, versions of libraries, precision and devices of each start."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from segtrain.data.sample import Source
from segtrain.errors import DataError
from segtrain.runtime.device import Runtime
from segtrain.runtime.world import World
from segtrain.storage import read_text, write_text

FILE = "environment.json"
"""A list with an entry for each time that the run was started: once, and once more for each resume."""


def note_start(folder: Path, environment: Mapping[str, Any]) -> None:
    """Append a start to environment.json of a run folder."""
    write_text(folder / FILE, json.dumps([*read_starts(folder), environment], indent=2) + "\n")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Read the starts of a run, the first one first; none where an earlier version of segtrain made it.

    Raises `DataError` for a file of another content.
    """
    file = folder / FILE
    if not file.is_file():
        return []
    with suppress(ValueError):
        found = json.loads(read_text(file))
        if isinstance(found, list) and all(isinstance(start, dict) for start in found):
            return found
    raise DataError(f"{file}: is no list of a run's starts, expected what segtrain wrote there; move the file away")


def environment_of(
    runtime: Runtime, world: World, sources: Mapping[str, Source], *, versions: Mapping[str, str], step: int
) -> dict[str, Any]:
    """Return what a run runs on, as JSON takes it, from ``step`` on; all ranks of ``world`` have to ask.

    ``sources`` are its splits by name, ``versions`` those of libraries.
    """
    devices = world.gather(runtime.device_name)
    if not world.is_first:
        return {}
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "step": step,
        "data": {name: _fingerprint(source) for name, source in sources.items()},
        "git": git_state(Path.cwd()),
        "versions": {**versions, **_builds(), "python": platform.python_version()},
        "precision": runtime.precision,
        "processor": _processor(),
        "devices": devices,
        "ranks": world.size,
    }


def _fingerprint(source: Source) -> dict[str, Any]:
    """Return the number of samples and hashes of their files: paths, sizes and times; null where none are read."""
    return {"images": len(source), "files": source.version(), "masks": source.fingerprint()}


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that a folder is at, and a hash of the changes since; None outside of a repository.

    Files that git does not track are no changes: run folders are such files. None too without git or a commit.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD").decode().strip()
        changes = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    except (OSError, subprocess.CalledProcessError):
        return None
    changed = hashlib.sha256(changes).hexdigest() if changes else None
    return {"commit": commit, "dirty": bool(changes), "changes": changed}


def _git(folder: Path, *words: str) -> bytes:
    unlocked = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # a user's own git at the same time must not be in the way
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True, env=unlocked).stdout


def _builds() -> dict[str, str]:
    """Return what a package's version does not say: torch's build, and the libraries of its GPU code."""
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"torch": torch.__version__, "cuda": str(torch.version.cuda), "cudnn": str(cudnn)}


def _processor() -> str:
    """Return the product name of the processor, where the system tells it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
