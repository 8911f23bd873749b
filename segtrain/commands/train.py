"""``segtrain [train]``: train a model, or go on with a run."""

import logging
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from segtrain.commands.arguments import Arguments, show
from segtrain.commands.folders import Lock, holder, make_folder, numbered
from segtrain.commands.imports import import_heavy
from segtrain.config.compose import Composed, compose, named_targets, overlay, overrides_of, rooted, split_overrides
from segtrain.config.signature import MISSING, TARGET
from segtrain.errors import ConfigError, SegtrainError, StorageError
from segtrain.files import refusal, write_text

if TYPE_CHECKING:
    from torch import nn

    from segtrain.trainer import Trainer

log = logging.getLogger(__name__)

_MODEL = ("arch", "encoder")


@dataclass(frozen=True)
class Run:
    """A run that is about to start: its resolved job, its folder, and the state it goes on from."""

    job: dict[str, Any]
    folder: Path
    overrides: tuple[str, ...]
    resumed: dict[str, Any] | None = None
    folder_is_chosen: bool = True  # by the user; if not, any that is free will do


def run(arguments: Arguments) -> int:
    """Train, or print the config, or sweep."""
    if arguments.multirun:
        from segtrain.commands import sweep

        return sweep.run(arguments)
    planned = plan(arguments.overrides, arguments.config_dir)
    if arguments.cfg:
        show(yaml.safe_dump(planned.job, sort_keys=False))
        return 0
    train(planned)
    return 0


def plan(overrides: Sequence[str], config_dir: Path | None) -> Run:
    """Compose a run and check its spine, without importing torch unless a checkpoint has to be read."""
    resume = [None, *overrides_of(overrides, "resume")][-1]
    if resume is not None:
        return _plan_resume(Path(str(resume)), overrides, config_dir)
    start = [None, *overrides_of(overrides, "init_from")][-1]
    composed = (
        compose("train", overrides, config_dir=config_dir)
        if start is None
        else _from_weights(Path(str(start)), overrides, config_dir)
    )
    is_chosen = bool(overrides_of(overrides, "hydra.run.dir"))
    folder = _refuse_used(composed.run_dir) if is_chosen else next(filterfalse(_is_used, numbered(composed.run_dir)))
    return Run(rooted(composed.job), folder, tuple(overrides), folder_is_chosen=is_chosen)


def _from_weights(path: Path, overrides: Sequence[str], config_dir: Path | None) -> Composed:
    """Compose a run whose arch and encoder are those of a checkpoint, but for what the user says of them."""
    from segtrain import checkpoint

    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    changes, others = split_overrides(overrides, _MODEL)
    checkpoint.check_targets(payload["config"], file, named_by_user=named_targets(changes, config_dir))
    model = {group: payload["config"][group] for group in _MODEL}
    composed = compose("train", others, config_dir=config_dir, called=_model_words(model, changes))
    job = overlay({**composed.job, **model}, changes, config_dir=config_dir)
    return replace(composed, job={**job, "init_from": str(path.expanduser().absolute())})


def _model_words(model: Mapping[str, Any], changes: Sequence[str]) -> dict[str, str]:
    """Say what a run's name calls its arch and encoder: the user's choice, or what the checkpoint holds."""
    arch, encoder = model["arch"], model["encoder"]
    words = {
        "arch": arch[TARGET].rpartition(".")[2].lower(),
        "encoder": str(encoder.get("name") or encoder[TARGET].rpartition(".")[2]),
    }
    return {group: str([word, *overrides_of(changes, group)][-1]) for group, word in words.items()}


def _plan_resume(path: Path, overrides: Sequence[str], config_dir: Path | None) -> Run:
    from segtrain import checkpoint
    from segtrain.console import start_logging

    start_logging()
    file, payload = checkpoint.read_newest(path)
    own, changes = split_overrides(overrides, ("resume", "hydra"))
    for key in ("init_from", "encoder.weights"):
        if overrides_of(changes, key):
            raise ConfigError(f"{key}: a run that goes on keeps its own weights, expected no others; leave {key} out")
    checkpoint.check_targets(payload["config"], file, named_by_user=named_targets(changes, config_dir))
    job = {**overlay(payload["config"], changes, config_dir=config_dir), "resume": str(path)}
    if problem := _other_model(payload["config"], job):
        raise ConfigError(problem)
    chosen = overrides_of(own, "hydra.run.dir")
    folder = Path(str(chosen[-1])) if chosen else checkpoint.run_folder(file)
    if folder is None:
        raise ConfigError(
            f"resume={path}: lies in no run folder, expected outputs/<name>/<time>; add hydra.run.dir=..."
        )
    log.info("going on from %s, step %d", file, payload["state"]["step"])
    return Run(rooted(job), folder, tuple(overrides), payload)


def _other_model(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say that a run which goes on was given another architecture or encoder; None where it was not."""
    had, has = (_model_words(config, ()) for config in (before, now))
    for group in _MODEL:
        if had[group] != has[group]:
            return (
                f"{group}: was {had[group]}, now {has[group]}, but a run that goes on keeps its model; leave "
                f"{group}={has[group]} out, or train anew without resume"
            )
    return None


def _is_used(folder: Path) -> bool:
    return (folder / "checkpoints").exists()


def _refuse_used(folder: Path) -> Path:
    if _is_used(folder):
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a run; go on with segtrain resume {shlex.quote(str(folder))}, "
            "or choose another folder"
        )
    return folder


class Trained(NamedTuple):
    """How a run ended: the scores of its best validation, and how many parameters the model has."""

    scores: dict[str, Any]
    parameters: int


def train(planned: Run) -> Trained:
    """Train in this process."""
    with claimed(planned) as (run, made), telling_what_is_kept(run.folder, made):
        return _train(run, made)


@contextmanager
def claimed(planned: Run) -> Iterator[tuple[Run, list[Path]]]:
    """Take a run's folder for this process; gives the run with its folder, and the folders that were made for it.

    Raises ConfigError where another process has the folder, if no other one will do.
    """
    folder, made, lock = _take_folder(planned)
    try:
        yield replace(planned, folder=folder), made
    finally:
        lock.release()


def _take_folder(planned: Run) -> tuple[Path, list[Path], Lock]:
    for folder in numbered(planned.folder):
        made = make_folder(folder, key="hydra.run.dir")
        lock = Lock.take(folder)
        if lock is None and planned.folder_is_chosen:
            raise ConfigError(f"{folder}: {holder(folder)} is writing a run there; wait until it ends, or stop it")
        if lock is None:
            continue
        if planned.resumed is not None or not _is_used(folder):
            return folder, made, lock
        lock.release()
        if planned.folder_is_chosen:
            _refuse_used(folder)
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


def _train(planned: Run, made: Sequence[Path]) -> Trained:
    import_heavy("segtrain.build")
    from segtrain.build import build_trainer
    from segtrain.console import logging_to, start_logging
    from segtrain.runlog import best_scores
    from segtrain.runtime import keep_freed_memory

    start_logging()
    keep_freed_memory()
    (planned.folder / "checkpoints").mkdir(exist_ok=True)
    with logging_to(planned.folder / "train.log"):
        warn_of_freezing(planned.job)
        try:
            trainer = build_trainer(planned.job, planned.folder, resumed=planned.resumed)
        except SegtrainError:
            take_back(planned.folder, made)
            raise
        write_request(planned)
        log.info("run folder %s", planned.folder)
        tell_what_trains(trainer)
        if trainer.finished:
            limit = "trainer.max_steps" if trainer.options.max_steps else "trainer.epochs"
            log.info("nothing to do: the run is at step %d of %d; raise %s", trainer.place, trainer.total_steps, limit)
        else:
            trainer.fit()
            tell_what_is_next(trainer)
        log.info("done: %s", planned.folder)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return Trained(best_scores(planned.folder), parameters)


def warn_of_freezing(job: Mapping[str, Any]) -> None:
    """Say where what is set of the encoder's freezing cannot be meant."""
    encoder = job["encoder"]
    is_frozen, thaws = encoder.get("freeze"), encoder.get("unfreeze_at_epoch")
    has_weights = encoder.get("weights", MISSING) is not None or job["init_from"] or job["resume"]
    if is_frozen and not has_weights:
        log.warning(
            "encoder.freeze=%s: holds random weights still; set encoder.weights=imagenet", str(is_frozen).lower()
        )
    if thaws is not None and not is_frozen:
        log.warning("encoder.unfreeze_at_epoch=%s: nothing is frozen until then; add encoder.freeze=true", thaws)


def tell_what_trains(trainer: "Trainer") -> None:
    """Say what is trained, where and how, on what, and for how long."""
    parameters = list(trainer.model.parameters())
    total, trained = (sum(p.numel() for p in some) for some in (parameters, filter(_learns, parameters)))
    runtime = trainer.runtime
    log.info(
        "%s in %s, %.2f million parameters%s",
        runtime.device_name,
        runtime.precision,
        total / 1e6,
        f", of which {trained / 1e6:.2f} learn" if trained < total else "",
    )
    train, val = trainer.train, trainer.val
    size = trainer.description["config"]["data"]["image_size"]
    height, width = size if isinstance(size, Sequence) else (size, size)
    log.info("%d images to train on, %d to validate, at %dx%d", len(train.dataset), len(val.dataset), height, width)
    log.info("%d steps an epoch, %d in all", trainer.steps_per_epoch, trainer.total_steps)


def _learns(parameter: "nn.Parameter") -> bool:
    return parameter.requires_grad


def tell_what_is_next(trainer: "Trainer") -> None:
    """Say why a run has ended, where it did before its last step, and what can be done with it."""
    if trainer.out_of_patience:
        waited, steps = trainer.state.waited, (trainer.place, trainer.total_steps)
        log.info("stopped at step %d of %d: %d validations brought nothing better (trainer.patience)", *steps, waited)
    folder = shlex.quote(str(trainer.log.folder))
    log.info("to score it: segtrain eval %s", folder)
    log.info("to use it: segtrain predict %s photos masks", folder)


def write_request(planned: Run) -> None:
    """Write down what was asked for, once all of it could be built."""
    write_text(planned.folder / "config.yaml", yaml.safe_dump(planned.job, sort_keys=False))
    with (planned.folder / "overrides.txt").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(" ".join(re.sub(r"^(.*\s.*)$", r"'\1'", word) for word in planned.overrides) + "\n")


def take_back(folder: Path, made: Sequence[Path]) -> None:
    """Remove the folder of a run that could not be built, and those around it, as far as they were made for it."""
    if folder in made:
        shutil.rmtree(folder)
    for path in (folder / "checkpoints", *made):
        with suppress(OSError):  # not empty: checkpoints of the run that goes on, or another run beside this one
            path.rmdir()
