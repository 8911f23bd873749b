"""Resuming a run under a changed config: which state is kept, converted or reset.

State that a change does not concern is loaded untouched, so that a run that was only stopped resumes
exactly.
"""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from segtrain.config.schema import OptimizerConfig, TrainConfig
from segtrain.config.signature import TARGET
from segtrain.config.spine import to_config
from segtrain.data.files.labels import listing
from segtrain.errors import CheckpointError
from segtrain.optim.parameter_groups import parameter_groups, parameter_names
from segtrain.runtime.random_state import random_state
from segtrain.training.running_loss import RunningLoss
from segtrain.training.trainer import Trainer

log = logging.getLogger(__name__)

_LEARNING_RATE = {"lr", "encoder_lr_factor", "layer_decay", "groups"}
_DECAY = {"decay_positions", "groups"}
# data of another root: it was moved
_FEEDING = ("batch_size", "num_workers", "cache", "cache_mb", "sampling", "split", "root")
# how a step is computed: devices and strategies differ in what they have
_HOW = {"fused", "foreach"}
# what an optimizer step is made of
_STEP = (("data", "batch_size"), ("trainer", "grad_accum_steps"))


def resume(
    trainer: Trainer, payload: Mapping[str, Any], build_optimizer: Callable[[OptimizerConfig, nn.Module], Optimizer]
) -> None:
    """Load a checkpoint into a trainer; raises `CheckpointError` where the two do not fit."""
    before, now = payload["config"], trainer.description["config"]
    _refuse_other_classes(payload, trainer)
    try:
        keeps_optimizer = before["optimizer"] == now["optimizer"] or _remember_alike(before, now, build_optimizer)
        trainer.load_state_dict(adapted(payload, trainer, keeps_optimizer=keeps_optimizer))
    except (RuntimeError, ValueError, KeyError) as error:
        changed = ", ".join(_changes_of_model(before, now))
        reason = f"changed: {changed}" if changed else " ".join(str(error).split())[:160] + "..."
        raise CheckpointError(
            f"resume: the checkpoint does not fit the config ({reason}), expected the model and the optimizer that "
            "it was saved with; leave out what changes them"
        ) from error
    trainer.log.rewind(trainer.state.log_bytes)


def _refuse_other_classes(payload: Mapping[str, Any], trainer: Trainer) -> None:
    """Raise where the data has more or fewer classes than the run had; others of the same number are its names."""
    had, has = payload["class_names"], trainer.task.class_names
    if len(had) == len(has) and payload["mode"] == trainer.task.mode:
        return
    folder = shlex.quote(str(trainer.log.folder))
    raise CheckpointError(
        f"resume: the run had {len(had)} classes ({listing(had)}; {payload['mode']}), the data has {len(has)} "
        f"({listing(has)}; {trainer.task.mode}), but a run that goes on keeps its model; leave out what changes the "
        f"classes, or start a new run from its weights: init_from={folder}"
    )


def _changes_of_model(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Name the options of the model that are other ones now: ``arch.channels was [8, 8], now [16, 8]``."""
    for group in ("arch", "encoder"):
        old, new = before[group], now[group]
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                yield f"{group}.{key} was {old.get(key)}, now {new.get(key)}"


def _remember_alike(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    build_optimizer: Callable[[OptimizerConfig, nn.Module], Optimizer],
) -> bool:
    """Tell whether the optimizers of two configs have one class and the same state per parameter.

    A step on a toy model shows that state: options such as ``amsgrad`` change it.
    """
    if before["optimizer"][TARGET] != now["optimizer"][TARGET]:
        return False
    remembered = []
    for job in (before, now):
        model = nn.Linear(1, 1)
        config = replace(to_config(job, TrainConfig).optimizer, layer_decay=None, groups=None)  # the toy has no layers
        optimizer = build_optimizer(config, model)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        remembered.append({name for kept in optimizer.state.values() for name in kept})
    return remembered[0] == remembered[1]


def adapted(payload: Mapping[str, Any], trainer: Trainer, *, keeps_optimizer: bool) -> dict[str, Any]:
    """Return a checkpoint for `Trainer.load_state_dict`, adapted to the trainer's config.

    ``keeps_optimizer`` tells whether the saved state of the optimizer can be used; if not, it is
    reset. Whatever is reset is logged. Raises ValueError where the saved optimizer had other
    parameters.
    """
    before, now = payload["config"], trainer.description["config"]
    state = {**payload["state"], **_place(payload, trainer)}
    if reason := _scored_otherwise(before, now):
        dropped = ", ".join(f"epoch{epoch + 1:04d}.pt" for _, epoch in sorted(state["kept"], key=itemgetter(1)))
        gone = f", and {dropped} go when the next epoch ends" if dropped else ""
        log.warning("%s: earlier scores cannot be compared, so the best checkpoint is looked for anew%s", reason, gone)
        state |= {"best": None, "waited": 0, "kept": []}
    if any(before["data"].get(key) != now["data"].get(key) for key in ("batch_size", "image_size")):
        state |= {"parts": 1}  # what fits into memory is to be found anew
    fresh: dict[str, Any] = {}
    if not keeps_optimizer:
        log.warning("optimizer: is another one than the run had, so its memory of earlier steps begins anew")
        fresh["optimizer"] = trainer.optimizer.state_dict()
    else:
        fresh["optimizer"] = _optimizer(payload, trainer)
    if before.get("loss") != now.get("loss"):
        fresh["running"] = RunningLoss(trainer.runtime.device).state_dict()
    if bool(payload["scaler"]) != trainer.step.scaler.is_enabled():
        fresh["scaler"] = trainer.step.scaler.state_dict()
    if before.get("seed") != now.get("seed"):
        fresh["random"] = random_state()
    return {**payload, **fresh, "state": state}


def _optimizer(payload: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
    """Return the saved optimizer state in the order of the new parameter groups, with changed options."""
    # by name: freezing and other options move parameters between groups, and so their numbers
    saved, made = payload["optimizer"], trainer.optimizer.state_dict()
    names = parameter_names(trainer.model, trainer.optimizer.param_groups)
    saved_names = payload.get("parameters") or _names_of_old(payload, trainer)
    places = {name: place for place, name in enumerate(saved_names)}
    group_of = {place: group for group in saved["param_groups"] for place in group["params"]}
    changed = _changed_options(payload["config"]["optimizer"], trainer.description["config"]["optimizer"])
    state, groups = {}, []
    for group in made["param_groups"]:
        known = [places[names[place]] for place in group["params"] if names[place] in places]
        kept = group_of[known[0]] if known else {}
        fresh = changed | _HOW
        groups.append({**kept, **{key: value for key, value in group.items() if key in fresh or key not in kept}})
        groups[-1]["params"] = group["params"]
        for place in group["params"]:
            held = saved["state"].get(places.get(names[place]))
            if held is not None:
                state[place] = held
    return {"state": state, "param_groups": groups}


def _changed_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the options of parameter groups that differ between two optimizer configs."""
    changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    rates = {"lr", "base_lr"} if changed & _LEARNING_RATE else set()
    return changed | rates | ({"weight_decay"} if changed & _DECAY else set())


def _names_of_old(payload: Mapping[str, Any], trainer: Trainer) -> Sequence[str]:
    """Return the parameter names of an optimizer from an old checkpoint, which lacks them.

    Old versions left frozen parameters out of it: the number of parameters tells.
    """
    options = payload["config"]["optimizer"]
    keys = ("lr", "weight_decay", "encoder_lr_factor", "decay_positions")
    groups = parameter_groups(trainer.model, **{key: options[key] for key in keys})
    count = sum(len(group["params"]) for group in payload["optimizer"]["param_groups"])
    for frozen in (True, False):
        kept = [{"params": [p for p in group["params"] if frozen or p.requires_grad]} for group in groups]
        names = parameter_names(trainer.model, kept)
        if len(names) == count:
            return names
    raise ValueError(f"the optimizer had {count} parameters, the model has {len(names)} to train")


def _place(payload: Mapping[str, Any], trainer: Trainer) -> dict[str, int]:
    """Return the batch to resume at: after as many images, or the same fraction of changed data.

    It is the first batch of an optimizer step, rounded down: less than a step's images come twice.
    """
    state, feed = payload["state"], trainer.train
    images = len(feed.dataset)
    before, now = payload["config"], trainer.description["config"]
    had = state.get("images") or images
    same = had == images and all(before[group][key] == now[group][key] for group, key in _STEP)
    if same or state["batch"] == 0:
        return {"images": images}
    accumulated, size = now["trainer"]["grad_accum_steps"], now["data"]["batch_size"]
    done = state["batch"] * before["data"]["batch_size"] * images // had
    batch = min(done // (accumulated * size) * accumulated, len(feed))
    again = "" if had == images else f"; the data had {had}, so the order is another and some come twice or not at all"
    log.warning("epoch %d goes on after %d of %d images%s", state["epoch"] + 1, batch * size, images, again)
    return {"batch": batch, "images": images}


def _scored_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return the changed key that makes new validation scores incomparable with old ones, or None."""
    monitors = [config["trainer"]["monitor"] for config in (before, now)]
    if monitors[0] != monitors[1]:
        return f"trainer.monitor={monitors[1]} (was {monitors[0]})"
    if monitors[0] == "val/loss" and before["loss"] != now["loss"]:
        return "loss"
    keys = [key for key in before["data"].keys() | now["data"].keys() if key not in _FEEDING]
    changed = [key for key in keys if before["data"].get(key) != now["data"].get(key)]
    return f"data.{min(changed)}" if changed else None
