"""Claiming a run folder for one process, and removing it where the run could not start."""

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
    """Lock a run's folder while the context is open; yields the plan with it, and the folders created.

    An automatic folder that is taken is replaced by the next number. Raises `ConfigError` where
    another process holds a folder that the user chose.
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
        lock.release()  # another run began and ended there since the plan was made
        if plan.folder_is_chosen:
            refuse_used(folder)
    raise AssertionError("the numbers do not end")


@contextmanager
def telling_what_is_kept(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """Raise `StorageError` for a full disk: with the command to resume, or after removing the folder.

    And for a folder that was taken away in mid-run, or may not be written any more.
    """
    try:
        yield
    except Exception as error:
        found = refusal(error, folder)
        if found is None:
            raise
        if not folder.exists():
            raise StorageError(f"{folder}: was removed in mid-run, and nothing is kept; start again") from error
        if is_used(folder):
            kept = f"its last checkpoint is kept; free space, then: segtrain resume {shlex.quote(str(folder))}"
        else:
            take_back(folder, made)
            kept = "nothing is kept; free space, or choose another hydra.run.dir=..., and start again"
        raise StorageError(f"{folder}: cannot be written ({found.strerror}); {kept}") from error


def take_back(folder: Path, made: Sequence[Path]) -> None:
    """Remove the folder of a run that could not be built, and its parents, as far as they were made for it."""
    if folder in made:
        shutil.rmtree(folder)
    for path in (folder / "checkpoints", *made):
        with suppress(OSError):  # not empty: checkpoints of a resumed run, or another run next to this one
            path.rmdir()
