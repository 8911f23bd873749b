"""A whole training run, built from its config."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from segtrain.build.parts import (
    build_feed,
    build_model,
    build_objective,
    build_optimizer,
    checked_config,
    construct,
    open_source,
)
from segtrain.build.restore import describe
from segtrain.config.choices import choices
from segtrain.config.schema import TrainConfig
from segtrain.config.signature import TARGET
from segtrain.data.loading.scale import typical_size
from segtrain.models import (
    Normalize,
    Segmenter,
    transfer_weights,
)
from segtrain.run import checkpoint
from segtrain.run.checkpoint import Checkpoints
from segtrain.run.log import RunLog
from segtrain.runtime.device import make_runtime
from segtrain.runtime.random_state import seed_everything
from segtrain.task import make_task
from segtrain.training.resuming import resume
from segtrain.training.trainer import Trainer

log = logging.getLogger(__name__)


def refuse_impossible(config: TrainConfig) -> None:
    """Build the model without memory: what cannot be combined is said before data is read or weights are fetched.

    Raises ConfigError; passes over parts that are not ours, which may not be made for that.
    """
    targets = (config.arch.leaf[TARGET], config.encoder[TARGET])
    if all(target.startswith("segtrain.") for target in targets):
        classes = ("any", "other") if config.aux else ()
        with torch.device("meta"):
            build_model(config, make_task("binary", ["any"]), channels=3, image_classes=classes, pretrained=False)


def build_trainer(job: Mapping[str, Any], folder: Path, *, resumed: Mapping[str, Any] | None = None) -> Trainer:
    """Build all of a run; ``resumed`` is the checkpoint that it goes on from.

    Raises SegtrainError for whatever the user can fix, before the first step and the quickest first: what the config
    says, the device, the data's folders, the weights, and only then what is in the files.
    """
    config = checked_config(job)
    refuse_impossible(config)
    runtime = make_runtime(config.device, config.trainer.precision, channels_last=config.trainer.channels_last)
    seed_everything(config.seed)
    train, val = open_source(config, "train"), open_source(config, "val")
    if train.image_classes and config.aux is None:
        log.warning("data.image_labels: nothing learns the labels of whole images; add aux=classification")
    task = make_task(train.mode, train.class_names)
    pretrained = resumed is None and config.init_from is None
    model = build_model(config, task, channels=train.channels, image_classes=train.image_classes, pretrained=pretrained)
    if resumed is None and config.init_from is not None:
        start_from(model, Path(config.init_from))
    model.normalize = model.normalize.with_range(train.value_range)
    runtime.place(model)
    optimizer, schedule = build_optimizer(config.optimizer, model, runtime), construct(config.scheduler, "scheduler")
    for source in (train, val):  # now that nothing quick can fail any more: it may read every file
        source.verify()
    trainer = Trainer(
        model,
        task=task,
        loss=build_objective(config, task, train).to(runtime.device),
        optimizer=optimizer,
        schedule=schedule,
        train=build_feed(config, train, runtime, training=True),
        val=build_feed(config, val, runtime, training=False),
        runtime=runtime,
        options=config.trainer,
        saving=config.checkpoint,
        checkpoints=Checkpoints(folder / "checkpoints"),
        log=build_log(config, job, folder),
        description=describe(job, model, task, palette=train.palette, size=typical_size(train)),
    )
    if resumed is not None:
        resume(trainer, resumed, partial(build_optimizer, runtime=runtime))
    return trainer


def start_from(model: Segmenter, path: Path) -> None:
    """Give a model the weights and the normalisation of a checkpoint, but for heads of other classes; says which."""
    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    log.info("init_from %s: %s", file, transfer_weights(model, payload.get("ema") or payload["model"]))
    model.normalize = Normalize(**payload["normalize"])


def build_log(config: TrainConfig, job: Mapping[str, Any], folder: Path) -> RunLog:
    """Open the run's log."""
    text = yaml.safe_dump(dict(job), sort_keys=False)
    return RunLog(folder, construct(config.logger, "logger", folder=folder), config=text, choices=choices(config))
