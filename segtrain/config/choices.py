"""The hyper-parameters of a run in a few words and numbers, for tables that compare runs."""

from collections.abc import Mapping
from typing import Any

from segtrain.config.schema import TrainConfig
from segtrain.config.signature import TARGET


def choices(config: TrainConfig) -> dict[str, str | int | float]:
    """Return, by name, the settings in which runs usually differ."""
    size = config.data.image_size
    optimizer, trainer = config.optimizer, config.trainer
    length = {"max_steps": trainer.max_steps} if trainer.max_steps else {"epochs": trainer.epochs}
    return {
        "arch": _class(config.arch.leaf).lower(),
        "encoder": str(config.encoder.get("name", _class(config.encoder))),
        "weights": str(config.encoder.get("weights") or "none"),
        "loss": loss_words(config.loss.leaf),
        "image_size": size if isinstance(size, int) else "x".join(map(str, size)),
        "augment": " ".join(_class(node) for node in config.augment.get("transforms") or []) or "none",
        "optimizer": _class(optimizer.leaf).lower(),
        "lr": optimizer.lr,
        "weight_decay": optimizer.weight_decay,
        "scheduler": _class(config.scheduler).lower(),
        "batch_size": config.data.batch_size * trainer.grad_accum_steps,  # per optimizer step
        **length,
        "seed": config.seed,
    }


def loss_words(leaf: Mapping[str, Any]) -> str:
    """Return the name of a loss, or the terms of a sum with their weights: ``cross_entropy + 0.5 dice``."""
    terms = {name: term.get("weight", 1) for name, term in (leaf.get("terms") or {}).items()}
    if not terms:
        return _class(leaf)
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in terms.items() if weight)


def _class(node: Mapping[str, Any]) -> str:
    return str(node[TARGET]).rpartition(".")[2]
