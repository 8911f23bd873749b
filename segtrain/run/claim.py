"""A run's folder while a process writes to it: taken for that process alone, given back where nothing came of it."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from segtrain.errors import ConfigError, StorageError
from segtrain.run.folders import Lock, holder, make_folder, numbered
from segtrain.run.plan import Plan, is_used, refuse_used
from segtrain.storage import refusal


@contextmanager
def claimed(plan: Plan) -> Iterator[tuple[Plan, list[Path]]]:
    """Take a run's folder for this process; gives the run with its folder, and the folders that were made for it.

    Raises ConfigError where another process has the folder, if no other one will do.
    """
    folder, made, lock = _take_folder(plan)
    try:
        yield replace(plan, folder=folder), made
    finally:
        lock.release()


def _take_folder(plan: Plan) -> tuple[Path, list[Path], Lock]:
    for folder in numbered(plan.folder):
        made = make_folder(folder, key="hydra.run.dir")
        lock = Lock.take(folder)
        if lock is None and plan.folder_is_chosen:
            raise ConfigError(f"{folder}: {holder(folder)} is writing a run there; wait until it ends, or stop it")
        if lock is None:
            continue
        if plan.resumed is not None or not is_used(folder):
            return folder, made, lock
        lock.release()
        if plan.folder_is_chosen:
            refuse_used(folder)
    raise AssertionError("the numbers do not end")


@contextmanager
def telling_what_is_kept(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """Raise StorageError where the disk takes no more of a run: with the way to go on, or no trace of it."""
    try:
        yield
    except Exception as error:
        found = refusal(error)
        if found is None:
            raise
        if any((folder / "checkpoints").glob("*.pt")):
            kept = f"its last checkpoint is kept; free space, then: segtrain resume {shlex.quote(str(folder))}"
        else:
            take_back(folder, made)
            kept = "nothing is kept; free space, or choose another hydra.run.dir=..., and start again"
        raise StorageError(f"{folder}: cannot be written ({found.strerror}); {kept}") from error


def take_back(folder: Path, made: Sequence[Path]) -> None:
    """Remove the folder of a run that could not be built, and those around it, as far as they were made for it."""
    if folder in made:
        shutil.rmtree(folder)
    for path in (folder / "checkpoints", *made):
        with suppress(OSError):  # not empty: checkpoints of the run that goes on, or another run beside this one
            path.rmdir()
