"""Opening the checkpoint that a command is given, with changes to its config."""

import logging
from collections.abc import Mapping, Sequence
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


def open_checkpoint(
    path: Path, changes: Overrides = _NONE, *, config_dir: Path | None = None, trust: Sequence[str] = ()
) -> Opened:
    """Read the best checkpoint of a run folder, or a file; of a graph that `segtrain export` wrote, what it says.

    ``trust`` names targets beside those that ``changes`` name.

    Raises `CheckpointError` where it cannot be read, or its config names a target that is not trusted.
    """
    import_heavy("segtrain.run.checkpoint")
    from segtrain.run import checkpoint

    file = checkpoint.find(path, best=True)
    payload = read(file)
    job = rooted(_as_trained(overlay(payload["config"], changes, config_dir=config_dir), payload, changes))
    # both: an override may hide a target of the checkpoint that is used nevertheless
    for config in (payload["config"], job):
        checkpoint.check_targets(config, file, named_by_user=[*changes.named_targets(config_dir), *trust])
    return Opened(file, payload, job)


def read(file: Path) -> dict[str, Any]:
    """Read a checkpoint, or the description of a graph, which `build.restore.make_network` runs."""
    from segtrain.run import checkpoint, portable

    return portable.read_graph(file) if file.suffix in portable.GRAPHS else checkpoint.read(file)


def open_checkpoints(
    ckpt: str | Sequence[str],
    changes: Overrides = _NONE,
    *,
    config_dir: Path | None = None,
    trust: Sequence[str] = (),
) -> list[Opened]:
    """Open a checkpoint, or several: of a list, or of all runs in the folder of a sweep, such as its folds.

    Raises as `open_checkpoint` does.
    """
    paths = [run for each in ([ckpt] if isinstance(ckpt, str) else ckpt) for run in _runs_in(Path(each))]
    opened = [open_checkpoint(path, changes, config_dir=config_dir, trust=trust) for path in paths]
    if len(opened) > 1:
        log.info("the mean of %d models: %s", len(opened), ", ".join(str(each.file) for each in opened))
    return opened


def _runs_in(path: Path) -> list[Path]:
    """List the runs in the folder of a sweep, which has numbers for names; any other path is one."""
    from segtrain.run import checkpoint

    if checkpoint.candidates(path, best=True) or not path.is_dir():
        return [path]
    jobs = sorted((folder for folder in path.iterdir() if folder.name.isdigit()), key=lambda each: int(each.name))
    return [folder for folder in jobs if checkpoint.candidates(folder, best=True)] or [path]


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
