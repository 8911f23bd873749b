"""Opening the checkpoint that a command is given, with changes to its config."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.config.compose import overlay, rooted
from segtrain.config.overrides import Overrides
from segtrain.config.signature import MISSING
from segtrain.terminal.slow_imports import import_heavy

log = logging.getLogger(__name__)
_NONE = Overrides()


class Opened(NamedTuple):
    """A checkpoint: its file, its content, and its run's config with the overrides of the command line."""

    file: Path
    payload: dict[str, Any]
    job: dict[str, Any]


def open_checkpoint(path: Path, changes: Overrides = _NONE, *, config_dir: Path | None = None) -> Opened:
    """Read the best checkpoint of a run folder, or a file.

    Raises `CheckpointError` where it cannot be read, or its config names a target that is not trusted.
    """
    import_heavy("segtrain.run.checkpoint")
    from segtrain.run import checkpoint

    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    job = rooted(_as_trained(overlay(payload["config"], changes, config_dir=config_dir), payload, changes))
    # both: an override may hide a target of the checkpoint that is used nevertheless
    for config in (payload["config"], job):
        checkpoint.check_targets(config, file, named_by_user=changes.named_targets(config_dir))
    return Opened(file, payload, job)


def _as_trained(job: dict[str, Any], payload: Mapping[str, Any], changes: Overrides) -> dict[str, Any]:
    """Set image size and classes of the checkpoint in data that is chosen anew, such as ``data=folder``.

    They are what the model was trained with, unless the command line names others.
    """
    if not changes.values("data"):
        return job
    data = dict(job["data"])
    if data.get("classes") == MISSING:
        data["classes"] = list(payload["class_names"])
        if data.get("mode", MISSING) is None and payload["mode"] == "multilabel":
            data["mode"] = payload["mode"]
        log.info("data.classes are those of the checkpoint: %s", ", ".join(data["classes"]))
    if not changes.values("data.image_size"):
        data["image_size"] = payload["config"]["data"]["image_size"]
    return {**job, "data": data}
