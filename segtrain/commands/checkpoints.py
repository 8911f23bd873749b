"""How commands open the checkpoint that they are given."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.commands.imports import import_heavy
from segtrain.config.compose import named_targets, overlay, overrides_of, rooted
from segtrain.config.signature import MISSING

log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """A checkpoint's file and content, and its run's config with the changes that a command line makes to it."""

    file: Path
    payload: dict[str, Any]
    job: dict[str, Any]


def open_checkpoint(path: Path, changes: Sequence[str] = (), *, config_dir: Path | None = None) -> Opened:
    """Read the best checkpoint of a run folder, or a file.

    Raises CheckpointError where it cannot be read, or would build what neither the project nor the user names.
    """
    import_heavy("segtrain.checkpoint")
    from segtrain import checkpoint

    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    job = rooted(_as_trained(overlay(payload["config"], changes, config_dir=config_dir), payload, changes))
    for config in (payload["config"], job):
        checkpoint.check_targets(config, file, named_by_user=named_targets(changes, config_dir))
    return Opened(file, payload, job)


def _as_trained(job: dict[str, Any], payload: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Let data that is chosen anew, such as ``data=folder``, have the size and the classes of the checkpoint.

    They are what the model was trained with, unless the command line names others.
    """
    if not overrides_of(changes, "data"):
        return job
    data = dict(job["data"])
    if data.get("classes") == MISSING:
        data["classes"] = list(payload["class_names"])
        if data.get("mode", MISSING) is None and payload["mode"] == "multilabel":
            data["mode"] = payload["mode"]
        log.info("data.classes are those of the checkpoint: %s", ", ".join(data["classes"]))
    if not overrides_of(changes, "data.image_size"):
        data["image_size"] = payload["config"]["data"]["image_size"]
    return {**job, "data": data}
