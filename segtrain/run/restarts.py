"""Going on by itself: a job that is started again finds the folder of its run."""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.compose import compose
from segtrain.config.differing import ABSENT, differing
from segtrain.config.overrides import Overrides
from segtrain.config.renamed import with_current_names
from segtrain.config.words import quote
from segtrain.storage import read_text, write_text

log = logging.getLogger(__name__)

_FILE = "job_id"
_FREE = ("resume", "trainer.max_time", "trainer.auto_resume")  # keys that change nothing of what is trained


def note_job(folder: Path) -> None:
    """Write into a run folder which job of torchrun's makes it, if one does."""
    if job := os.environ.get("TORCHELASTIC_RUN_ID"):
        write_text(folder / _FILE, f"{job}\n")


def after_restart(overrides: Overrides, config_dir: Path | None) -> Overrides:
    """Return the words that go on with this job's run, if it was started again and has a checkpoint; else the same.

    A run that resumes another goes on in the folder of that one, by its own words.
    """
    job = os.environ.get("TORCHELASTIC_RUN_ID")
    if not job or not int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) or overrides.last("resume") is not None:
        return overrides
    folder = compose("train", overrides, config_dir=config_dir).run_dir
    files = [*folder.parent.glob(f"*/{_FILE}"), *folder.glob(_FILE)]
    own = [file.parent for file in files if read_text(file).strip() == job]
    newest = max(own, key=_saved_at, default=None)
    if newest is None or not _saved_at(newest):
        return overrides
    return Overrides.of([f"resume={quote(str(newest))}"])


def runs_alike(job: Mapping[str, Any], folders: Iterable[Path]) -> list[Path]:
    """Return the run folders that have a checkpoint and the config of a job, the newest first; says if none has.

    Keys that change nothing of what is trained may differ.
    """
    saved = {folder: _saved_at(folder) for folder in folders if (folder / "config.yaml").is_file()}
    newest_first = sorted((folder for folder, at in saved.items() if at), key=saved.__getitem__, reverse=True)
    changes = {folder: _changes(_config(folder), job) for folder in newest_first}
    alike = [folder for folder in newest_first if not changes[folder]]
    if newest_first and not alike:
        newest = newest_first[0]
        named = ", ".join(changes[newest][:4])
        log.info("a new run begins: none has this config, and the newest (%s) differs in %s", newest, named)
    return alike


def _saved_at(folder: Path) -> float:
    """Return when a run was last saved, 0 for never."""
    names = ("last.pt", "previous.pt")
    files = [file for name in names if (file := folder / "checkpoints" / name).exists()]
    return max((file.stat().st_mtime for file in files), default=0.0)


def _config(folder: Path) -> dict[str, Any]:
    return with_current_names(yaml.safe_load(read_text(folder / "config.yaml")))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys that two configs differ in; one that was added since, and is null, is no change."""
    nothing = (None, ABSENT)
    return [
        key
        for key, held, holds in differing(before, now)
        if key not in _FREE and not (held in nothing and holds in nothing)
    ]
