"""Suggestions for commands and flags of other tools that users type here."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from segtrain.suggest import did_you_mean, nearest

_COMMANDS = {
    "test": "segtrain eval outputs/<name>/<time> data.split=test",
    "val": "segtrain eval outputs/<name>/<time>",
    "validate": "segtrain eval outputs/<name>/<time>",
    "evaluate": "segtrain eval outputs/<name>/<time>",
    "infer": "segtrain predict outputs/<name>/<time> photos masks",
    "inference": "segtrain predict outputs/<name>/<time> photos masks",
    "detect": "segtrain predict outputs/<name>/<time> photos masks",
    "convert": "segtrain export outputs/<name>/<time> format=onnx",
    "benchmark": "segtrain bench outputs/<name>/<time>",
    "fit": "segtrain train",
    "finetune": "segtrain train init_from=outputs/<name>/<time>",
    "continue": "segtrain resume outputs/<name>/<time>",
    "models": "segtrain zoo",
    "list": "segtrain zoo",
    "version": "segtrain --version",
    "sweep": "segtrain -m arch=unet,fpn",
    "multirun": "segtrain -m arch=unet,fpn",
    "config": "segtrain --cfg job",
}
"""Commands of other tools, and the command that does the same here."""
_KEYS = {
    "lr": "optimizer.lr",
    "learning-rate": "optimizer.lr",
    "batch": "data.batch_size",
    "workers": "data.num_workers",
    "imgsz": "data.image_size",
    "img-size": "data.image_size",
    "model": "arch",
    "backbone": "encoder",
    "dataset": "data",
    "data-dir": "data.root",
    "data-path": "data.root",
    "classes": "data.classes",
    "max-epochs": "trainer.epochs",
    "amp": "trainer.precision",
    "pretrained": "encoder.weights",
    "weights": "init_from",
    "checkpoint": "init_from",
    "output-dir": "hydra.run.dir",
}
"""Flags of other tools, and their keys here."""


def remedy(word: str, commands: Collection[str]) -> str:
    """Return the end of an error line for an unknown command: what to write instead."""
    if word in _COMMANDS:
        return f"; write {_COMMANDS[word]}"
    if Path(word).exists():
        return f"; write segtrain eval {shlex.quote(word)}, or resume or predict in place of eval"
    near = did_you_mean(word, commands, listed=0)
    return near or f"; choose from {', '.join(commands)}, or write {word}=..."


def flag_problem(word: str, flags: Sequence[str]) -> str:
    """Return the error line for an unknown flag: options here are ``key=value``, not flags."""
    near = nearest(word.lstrip("-"), [flag.lstrip("-") for flag in flags])
    if near:
        return f"{word}: no such flag, did you mean '{'--' if len(near) > 2 else '-'}{near}'?"
    name, equals, value = word.removeprefix("--").partition("=")
    from segtrain.config.compose import train_key  # here, as it imports Hydra, a tenth of a second

    key = _KEYS.get(name.replace("_", "-")) or train_key(name.replace("-", "_"))
    if key is None:
        return f"{word}: no such flag; `segtrain --help` lists the flags, and options are key=value"
    return f"{word}: no such flag, as options are key=value; write {key}={value if equals else '...'}"
