"""Planning a run before it starts: its config, its folder, and the checkpoint that it resumes."""

import logging
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import filterfalse
from pathlib import Path
from typing import Any

from segtrain.config.compose import Composed, compose, overlay, rooted
from segtrain.config.overrides import Overrides
from segtrain.config.signature import TARGET
from segtrain.config.words import quote
from segtrain.errors import CheckpointError, ConfigError
from segtrain.run.folders import FRESH, numbered
from segtrain.run.restarts import runs_alike

log = logging.getLogger(__name__)

_MODEL = ("arch", "encoder")  # the groups that init_from takes from the checkpoint


@dataclass(frozen=True)
class Plan:
    """A run that is about to start: its job, its folder, and the content of the checkpoint it resumes."""

    job: dict[str, Any]
    folder: Path
    overrides: Overrides
    resumed: dict[str, Any] | None = None
    folder_is_chosen: bool = True  # by the user; if not, any that is free will do


def make_plan(overrides: Overrides | Iterable[str], config_dir: Path | None = None) -> Plan:
    """Compose a run and check its config; imports torch only if a checkpoint has to be read."""
    overrides = Overrides.of(overrides)
    resume = overrides.last("resume")
    if resume is not None:
        return _plan_resume(Path(str(resume)), overrides, config_dir)
    start = overrides.last("init_from")
    composed = (
        compose("train", overrides, config_dir=config_dir)
        if start is None
        else _from_weights(Path(str(start)), overrides, config_dir)
    )
    is_chosen = overrides.last("hydra.run.dir") is not None
    job = rooted(composed.job)
    if job["trainer"]["auto_resume"]:
        runs = [composed.run_dir] if is_chosen else composed.run_dir.parent.glob("*/")
        if going_on := _go_on(runs_alike(job, runs), job["trainer"], config_dir):
            return going_on
    folder = refuse_used(composed.run_dir) if is_chosen else next(filterfalse(is_used, numbered(composed.run_dir)))
    return Plan(job, folder, overrides, folder_is_chosen=is_chosen)


def _go_on(folders: Iterable[Path], options: Mapping[str, Any], config_dir: Path | None) -> Plan | None:
    """Plan to go on with the first of several runs whose checkpoint can be read; None without any."""
    limit = "null" if options["max_time"] is None else options["max_time"]
    for folder in folders:
        words = [f"resume={quote(str(folder))}", "trainer.auto_resume=true", f"trainer.max_time={limit}"]
        try:
            return _plan_resume(folder, Overrides.of(words), config_dir)
        except CheckpointError as error:
            log.warning("%s; looking for another run", str(error).replace("\n", "; "))
    return None


def is_used(folder: Path) -> bool:
    """Tell whether a folder holds a run, one that was killed before its first checkpoint not counted."""
    return any(file.name != FRESH for file in (folder / "checkpoints").glob("*.pt"))


def refuse_used(folder: Path) -> Path:
    """Return a folder that the user chose; raises `ConfigError` where it holds a run."""
    if is_used(folder):
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a run; go on with segtrain resume {shlex.quote(str(folder))}, "
            "or choose another folder"
        )
    return folder


def _from_weights(path: Path, overrides: Overrides, config_dir: Path | None) -> Composed:
    """Compose a run with arch and encoder of a checkpoint, with the user's overrides of them."""
    from segtrain.run import checkpoint

    file = checkpoint.find(path, best=True)
    held = _config_of(file, file.stat().st_mtime_ns)
    changes, others = overrides.split(_MODEL)
    checkpoint.check_targets(held, file, named_by_user=changes.named_targets(config_dir))
    model = {group: held[group] for group in _MODEL}
    composed = compose("train", others, config_dir=config_dir, called=_model_words(model, changes))
    job = overlay({**composed.job, **model}, changes, config_dir=config_dir)
    return replace(composed, job={**job, "init_from": str(path.expanduser().absolute())})


@lru_cache(maxsize=8)
def _config_of(file: Path, _changed_at: int) -> dict[str, Any]:
    """Read the config of a checkpoint, once for all jobs of a sweep; the time of change is for the cache."""
    from segtrain.run import checkpoint

    config: dict[str, Any] = checkpoint.read(file)["config"]
    return config


def _model_words(model: Mapping[str, Any], changes: Overrides) -> dict[str, str]:
    """Return the words for arch and encoder in a run's name: the user's choice, else the checkpoint's."""
    arch, encoder = model["arch"], model["encoder"]
    words = {
        "arch": arch[TARGET].rpartition(".")[2].lower(),
        "encoder": str(encoder.get("name") or encoder[TARGET].rpartition(".")[2]),
    }
    return {group: str([word, *changes.values(group)][-1]) for group, word in words.items()}


def _plan_resume(path: Path, overrides: Overrides, config_dir: Path | None) -> Plan:
    from segtrain.run import checkpoint
    from segtrain.terminal.console import start_logging

    start_logging()
    file, payload = checkpoint.read_newest(path)
    own, changes = overrides.split(("resume", "hydra"))
    for key in ("init_from", "encoder.weights"):
        if changes.values(key):
            raise ConfigError(f"{key}: a run that goes on keeps its own weights, expected no others; leave {key} out")
    checkpoint.check_targets(payload["config"], file, named_by_user=changes.named_targets(config_dir))
    job = {**overlay(payload["config"], changes, config_dir=config_dir), "resume": str(path)}
    if problem := _other_model(payload["config"], job):
        raise ConfigError(problem)
    chosen = own.last("hydra.run.dir")
    folder = checkpoint.run_folder(file) if chosen is None else Path(str(chosen))
    if folder is None:
        raise ConfigError(
            f"resume={path}: lies in no run folder, expected outputs/<name>/<time>; add hydra.run.dir=..."
        )
    log.info("going on from %s, step %d", file, payload["state"]["step"])
    return Plan(rooted(job), folder, overrides, payload)


def _other_model(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describe a resume with another architecture or encoder; None where they are the same."""
    had, has = (_model_words(config, Overrides()) for config in (before, now))
    for group in _MODEL:
        if had[group] != has[group]:
            return (
                f"{group}: was {had[group]}, now {has[group]}, but a run that goes on keeps its model; leave "
                f"{group}={has[group]} out, or train anew without resume"
            )
    return None
