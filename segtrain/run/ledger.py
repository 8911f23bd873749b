"""The ledger of a sweep: its jobs and what became of them, by which the same line goes on with it."""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrain.errors import ConfigError
from segtrain.run.folders import Lock, holder
from segtrain.run.leaderboard import Job
from segtrain.run.scores import best_scores
from segtrain.run.status import read_status
from segtrain.storage import read_text, write_text

log = logging.getLogger(__name__)

FILE = "sweep.json"
_FORMAT = 1
_KEPT = ("state", "scores", "parameters", "seconds", "error", "handle")
"""What the ledger holds of a job beside its words."""
_TURN = 0.05  # seconds between two tries for a lock that is held for a moment


@dataclass
class Ledger:
    """The jobs of a sweep in its folder; ``key`` stands for their configs, ``words`` are those that make them."""

    folder: Path
    key: str
    words: Sequence[str]
    jobs: Sequence[Job]

    def write(self) -> None:
        """Write sweep.json, whole or not at all."""
        content = {"format": _FORMAT, "key": self.key, "words": list(self.words), "jobs": self.entries()}
        write_text(self.folder / FILE, json.dumps(content, indent=1) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """Return what is kept of each job."""
        return [
            {"number": job.number, "varied": list(job.varied), **{name: getattr(job, name) for name in _KEPT}}
            for job in self.jobs
        ]

    def take_over(self, entries: Sequence[dict[str, Any]]) -> None:
        """Give the jobs what a ledger says of them; raises nothing, as `entries_of` has read it."""
        for job, entry in zip(self.jobs, entries, strict=True):
            for name in _KEPT:
                setattr(job, name, entry[name])
            settle(job)


def settle(job: Job) -> None:
    """Give a job that was left in the middle the state of its run folder; one that failed is waiting again."""
    if job.state == "finished":
        return
    status = read_status(job.plan.folder)
    if status is not None and status.state == "finished":
        finish(job)
    elif job.state != "waiting":
        job.state, job.error = "interrupted", ""


def finish(job: Job) -> None:
    """Give a job the result that its run folder holds."""
    job.state, job.error, job.scores = "finished", "", best_scores(job.plan.folder)
    if status := read_status(job.plan.folder):
        job.parameters, job.seconds = status.parameters, status.seconds


def key_of(jobs: Sequence[Job]) -> str:
    """Return what tells the jobs of one sweep from those of another: a hash of their configs, in order."""
    configs = [job.plan.job for job in jobs]
    return hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode()).hexdigest()


def entries_of(folder: Path) -> dict[str, Any]:
    """Read a ledger; raises `ConfigError` where it is damaged."""
    file = folder / FILE
    try:
        content = json.loads(read_text(file))
        if content["format"] != _FORMAT or any({*_KEPT, "varied"} - entry.keys() for entry in content["jobs"]):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{file}: is no ledger of a sweep, expected what segtrain wrote there; move the file away, or choose "
            "another hydra.sweep.dir=..."
        ) from None
    return dict(content)


def is_done(content: dict[str, Any]) -> bool:
    """Tell whether all jobs of a ledger are finished."""
    return all(entry["state"] == "finished" for entry in content["jobs"])


def unfinished(folders: Iterable[Path], ledger: Ledger) -> Path | None:
    """Return the newest folder whose sweep has the jobs of a ledger and is not done; None without any.

    Says where one has the same words and other configs: a YAML file or this package has changed since.
    """
    found = sorted((folder for folder in folders if (folder / FILE).is_file()), key=_written_at, reverse=True)
    for folder in found:
        try:
            content = entries_of(folder)
        except ConfigError as error:  # nobody asked for that one
            log.warning("%s", error)
            continue
        if is_done(content):
            continue
        if content["key"] == ledger.key:
            return folder
        if content["words"] == list(ledger.words):
            log.warning(
                "%s: is an unfinished sweep of these words, but with other values: YAML files or segtrain have changed "
                "since; a new sweep begins",
                folder,
            )
    return None


def _written_at(folder: Path) -> float:
    return (folder / FILE).stat().st_mtime


def hold(folder: Path) -> Lock:
    """Lock the folder of a sweep; raises `ConfigError` where another process runs it."""
    lock = Lock.take(folder)
    if lock is None:
        raise ConfigError(
            f"{folder}: {holder(folder)} is running this sweep; wait until it ends, or add sweep.fresh=true for another"
        )
    return lock


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Let one process at a time into the block: it waits while another holds the lock of an existing folder."""
    while (lock := Lock.take(folder)) is None:
        time.sleep(_TURN)
    try:
        yield
    finally:
        lock.release()
