"""Going on by itself: a job whose processes torchrun has started again finds its own run folder."""

import os
from pathlib import Path

from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.words import quote
from segtrain.storage import read_text, write_text

_FILE = "job_id"


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
    begun = [path / "checkpoints/last.pt" for path in own if (path / "checkpoints/last.pt").is_file()]
    if not begun:
        return overrides
    newest = max(begun, key=lambda file: file.stat().st_mtime).parent.parent
    return Overrides.of([f"resume={quote(str(newest))}"])
