"""How commands open the checkpoint that they are given."""

from pathlib import Path
from typing import Any, NamedTuple

from segtrain.config.compose import overlay, rooted
from segtrain.config.overrides import Overrides
from segtrain.terminal.slow_imports import import_heavy

_NONE = Overrides()


class Opened(NamedTuple):
    """A checkpoint's file and content, and its run's config with the changes that a command line makes to it."""

    file: Path
    payload: dict[str, Any]
    job: dict[str, Any]


def open_checkpoint(path: Path, changes: Overrides = _NONE, *, config_dir: Path | None = None) -> Opened:
    """Read the best checkpoint of a run folder, or a file.

    Raises CheckpointError where it cannot be read, or would build what neither the project nor the user names.
    """
    import_heavy("segtrain.run.checkpoint")
    from segtrain.run import checkpoint

    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    job = rooted(overlay(payload["config"], changes, config_dir=config_dir))
    for config in (payload["config"], job):
        checkpoint.check_targets(config, file, named_by_user=changes.named_targets(config_dir))
    return Opened(file, payload, job)
