"""Building the trainer of a run from its config."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from segtrain.build.distribution import distribute, is_shared_out, refuse_optimizer_on_shards, refuse_undivided
from segtrain.build.optimizer import build_optimizer
from segtrain.build.parts import (
    build_feed,
    build_inference,
    build_model,
    build_objective,
    checked_config,
    construct,
    open_source,
)
from segtrain.build.restore import describe
from segtrain.config.choices import choices
from segtrain.config.schema import Leaf, TrainConfig, TrainerConfig
from segtrain.config.signature import TARGET
from segtrain.data.doctor.duplicates import same_files
from segtrain.data.doctor.finding import first_few
from segtrain.data.doctor.names import groups_in_two_splits
from segtrain.data.files.labels import listing
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Source
from segtrain.errors import ConfigError, DataError
from segtrain.inference.network import Network
from segtrain.loggers import Guarded, Logger, Several
from segtrain.models import (
    Normalize,
    Outputs,
    Segmenter,
    transfer_weights,
)
from segtrain.models.activation_checkpointing import checkpoint_blocks
from segtrain.models.compiling import Mode, compile_blocks
from segtrain.optim.schedule_free import refuse_with_schedule_free
from segtrain.run import checkpoint
from segtrain.run.class_table import show_class_table
from segtrain.run.log import RunLog
from segtrain.run.silent_log import SilentLog
from segtrain.runtime.cuda_settings import set_cuda
from segtrain.runtime.device import make_runtime
from segtrain.runtime.device_check import check_device
from segtrain.runtime.random_state import seed_everything
from segtrain.runtime.world import ALONE, World
from segtrain.task import make_task
from segtrain.training.changed_config import resume
from segtrain.training.trainer import Trainer

log = logging.getLogger(__name__)


def is_ours(config: TrainConfig) -> bool:
    """Tell whether architecture and encoder are of this package, and can be built on the meta device."""
    return all(target.startswith("segtrain.") for target in (config.arch.leaf[TARGET], config.encoder[TARGET]))


def refuse_impossible(config: TrainConfig, world: World = ALONE) -> None:
    """Build the model on the meta device, to find incompatible parts before data is read or weights fetched.

    Raises `ConfigError`. Parts of other packages are skipped, as they may not support the meta device.
    """
    if config.trainer.compile == "reduce-overhead" and config.trainer.activation_checkpointing:
        raise ConfigError(
            "trainer.compile=reduce-overhead: CUDA graphs keep the memory that trainer.activation_checkpointing gives "
            "back; set one of them to false"
        )
    if is_shared_out(config, world) and (config.trainer.compile or config.trainer.activation_checkpointing):
        raise ConfigError(
            "trainer.strategy=fsdp: trainer.compile and trainer.activation_checkpointing are for whole weights; set "
            "both to false, or trainer.strategy=ddp"
        )
    if is_ours(config):
        classes = ("any", "other") if config.image_head else ()
        with torch.device("meta"):
            model = build_model(
                config,
                make_task("binary", ["any"]),
                channels=channels_to_try(config),
                image_classes=classes,
                pretrained=False,
            )
        if is_shared_out(config, world):
            refuse_undivided(model)


def refuse_other_classes(train: Source, val: Source) -> None:
    """Raise `DataError` where files of the splits name other classes: each label would mean two of them."""
    if train.class_names != val.class_names or train.mode != val.mode:
        has, want = listing(val.class_names), listing(train.class_names)
        raise DataError(
            f"data: the classes for val are {has}, those for train {want}, expected the same in one order; correct "
            "the file that names them, or set data.classes"
        )


def channels_to_try(config: TrainConfig) -> int:
    """Return the channels of a model on the meta device: as many as the normalisation has numbers for, else RGB."""
    numbers = config.encoder.get("mean") or config.encoder.get("std") or (0, 0, 0)
    return len(numbers)


def build_trainer(
    job: Mapping[str, Any], folder: Path, *, resumed: Mapping[str, Any] | None = None, world: World = ALONE
) -> Trainer:
    """Build the trainer of a run; ``resumed`` is the content of the checkpoint that it resumes.

    Every rank of ``world`` builds its own, after the first, which fetches weights and checks the files.
    Raises `SegtrainError` for all that the user can fix, the quickest checks first: the config, the device, the
    folders of the data, the weights, and only then the content of the files.
    """
    with world.said_once():
        config = checked_config(job)
    runtime = make_runtime(
        config.device, config.trainer.precision, channels_last=config.trainer.channels_last, world=world
    )
    set_up(runtime.device, config.trainer)
    if is_shared_out(config, world):
        with world.said_once():
            refuse_optimizer_on_shards(config.optimizer, runtime, world)
    with world.first_goes_first():
        refuse_impossible(config, world)
        seed_everything(config.seed + world.rank)  # ranks drop out other units; the first gives all its weights
        train, val = open_splits(config, world)
        task = make_task(train.mode, train.class_names)
        pretrained = resumed is None and config.init_from is None  # else the weights are replaced anyway
        model = build_model(
            config, task, channels=train.channels, image_classes=train.image_classes, pretrained=pretrained
        )
        if resumed is None and config.init_from is not None:
            start_from(model, Path(config.init_from))
        model.normalize = model.normalize.with_range(train.value_range)
        runtime.place(model)
        change_blocks(config.trainer, model)
        optimizer = build_optimizer(config.optimizer, model, runtime)
        schedule = construct(config.scheduler, "scheduler")
        refuse_with_schedule_free(optimizer, schedule, ema_decay=config.trainer.ema_decay)
        for source in (train, val):  # last, as it may read every file: nothing quick can fail any more
            source.verify()
        warn_of_leaks(train, val)
    has_unused = not world.is_alone and leaves_parameters_unused(config, train)
    placed = distribute(model, optimizer, config, runtime, world, size=size_of_inputs(config), has_unused=has_unused)
    trainer = Trainer(
        Network(model, runtime, module=placed.module),
        task=task,
        loss=build_objective(config, task, train).to(runtime.device),
        optimizer=placed.optimizer,
        schedule=schedule,
        train=build_feed(config, train, runtime, training=True, world=world),
        val=build_feed(config, val, runtime, training=False, world=world),
        options=config.trainer,
        saving=config.checkpoint,
        checkpoints=placed.checkpoints(folder / "checkpoints", config.checkpoint, world),
        log=build_log(config, job, folder) if world.is_first else SilentLog(folder),
        description=describe(job, model, task, palette=train.palette, source=train),
        world=world,
        shards=placed.shards,
        infer=partial(build_inference(config).around, task=task, size=size_of_inputs(config)),
    )
    if resumed is not None:
        resume(trainer, resumed, partial(build_optimizer, runtime=runtime))  # last: it restores random generators
    return trainer


def set_up(device: torch.device, options: TrainerConfig) -> None:
    """Make torch's settings for a device, and check that it computes rightly where some do not."""
    set_cuda(device, options.float32_matmul_precision, benchmark=options.cudnn_benchmark)
    if device.type == "mps":
        check_device(device)


def change_blocks(options: TrainerConfig, model: Segmenter) -> None:
    """Let the blocks of a model run compiled, or again in the backward pass, in place."""
    if options.compile:
        mode: Mode = "default" if options.compile is True else options.compile
        log.info("compile: %d blocks, each kind at its first step", compile_blocks(model, mode=mode))
    if options.activation_checkpointing:  # last: what is compiled lies within what runs again
        log.info("activation checkpointing: %d blocks run again in the backward pass", checkpoint_blocks(model))


def open_splits(config: TrainConfig, world: World) -> tuple[Source, Source]:
    """Open the splits to train on and to validate, whose files are not read yet; raises where they do not fit."""
    train, val = open_source(config, "train"), open_source(config, "val")
    refuse_other_classes(train, val)
    if train.image_classes and config.image_head is None:
        log.warning("data.image_labels: nothing learns the labels of whole images; add image_head=classification")
    show_class_table(train.class_table)
    images = min(len(train), config.data.limit or len(train))
    if images < world.size:
        raise DataError(f"data: {images} images to train on for {world.size} processes, expected one each; start fewer")
    refuse_lonely_image(config, images)
    return train, val


def warn_of_leaks(train: Source, val: Source) -> None:
    """Warn of validation images that are trained on too: `segtrain check` finds those that look the same as well.

    Raises `DataError` where both have images of a group that ``data.group`` keeps together.
    """
    subjects = [source.subject() for source in (train, val) if isinstance(source, PairedSource)]
    if torn := groups_in_two_splits(subjects):
        raise DataError("\n".join(first_few([str(finding) for finding in torn])))
    leaks = same_files(subjects)
    if leaks:
        count = f" ({len(leaks)} of {len(val)} images for val are so)"
        log.warning("%s%s", leaks[0], count)


def refuse_lonely_image(config: TrainConfig, images: int) -> None:
    """Try a forward pass on a single image, on the meta device, where batches have one image.

    Batch normalisation of a map of 1x1 pixels then has one value per channel, which torch refuses.
    ``images`` is the number of training images. Raises `ConfigError`; parts of other packages are
    skipped, as in `refuse_impossible`.
    """
    if min(config.data.batch_size, images) > 1 or not is_ours(config):
        return
    height, width = size_of_inputs(config)
    with torch.device("meta"):
        channels = channels_to_try(config)
        model = build_model(config, make_task("binary", ["any"]), channels=channels, pretrained=False).train()
        model(torch.empty(2, channels, height, width))
        try:
            model(torch.empty(1, channels, height, width))
        except ValueError as error:  # and two images passed: it is the batch normalisation
            raise ConfigError(
                f"data.batch_size={config.data.batch_size}: one image of {width}x{height} pixels leaves a batch "
                "normalisation one value per channel, which has no variance; train on two images or more at a time: "
                "data.batch_size=2"
            ) from error


def leaves_parameters_unused(config: TrainConfig, train: Source) -> bool:
    """Tell whether some parameters get no gradient in training, by a step on the meta device; True if unclear."""
    if not is_ours(config):
        return True
    height, width = size_of_inputs(config)
    task, classes = make_task("binary", ["any"]), train.image_classes
    with torch.device("meta"):
        model = build_model(config, task, channels=train.channels, image_classes=classes, pretrained=False).train()
        outputs = Outputs.of(model(torch.empty(2, train.channels, height, width)))
        labels = () if outputs.labels is None or not classes else (outputs.labels,)
        sum(answer.sum() for answer in (outputs.logits, *outputs.aux, *labels)).backward()
    return any(parameter.grad is None for parameter in model.parameters())


def size_of_inputs(config: TrainConfig) -> tuple[int, int]:
    """Return the ``(H, W)`` of training images."""
    size = config.data.image_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def start_from(model: Segmenter, path: Path) -> None:
    """Load weights and normalisation of a checkpoint, except heads for other classes; logs what was loaded."""
    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    log.info("init_from %s: %s", file, transfer_weights(model, payload.get("ema") or payload["model"]))
    model.normalize = Normalize(**payload["normalize"])


def build_logger(leaf: Leaf, folder: Path, path: str = "logger") -> Logger:
    """Build a logger, or several, none of which can end a training."""
    if "loggers" not in leaf:
        name = str(leaf[TARGET]).rpartition(".")[2]
        return Guarded(construct(leaf, path, folder=folder), name)
    inner = {name: build_logger(node, folder, f"{path}.loggers.{name}") for name, node in leaf["loggers"].items()}
    return Several(folder, loggers=inner)


def build_log(config: TrainConfig, job: Mapping[str, Any], folder: Path) -> RunLog:
    """Open the run's log."""
    text = yaml.safe_dump(dict(job), sort_keys=False)
    logger = build_logger(config.logger, folder)
    return RunLog(folder, logger, config=text, choices=choices(config), monitor=config.trainer.monitor)
