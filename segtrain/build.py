"""The composition root: the only place that turns a checked config into objects."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from torch import nn
from torch.optim import Optimizer

from segtrain import __version__, checkpoint
from segtrain.checkpoint import Checkpoints
from segtrain.config.schema import Leaf, OptimizerConfig, Precision, Split, TrainConfig
from segtrain.config.signature import TARGET
from segtrain.config.spine import check_leaves, to_config
from segtrain.data.feed import Feed
from segtrain.data.loader import AugmentedDataset
from segtrain.data.sample import Source
from segtrain.data.transforms import Augment
from segtrain.errors import CheckpointError, ConfigError, DataError, SegtrainError
from segtrain.models import Decoder, Normalize, Segmenter, assemble, decoder_inputs
from segtrain.optim import parameter_groups
from segtrain.predictor import Predictor
from segtrain.runlog import RunLog
from segtrain.runtime import Runtime, make_runtime, seed_everything
from segtrain.task import Task, make_task
from segtrain.trainer import Trainer

_LIBRARIES = ("torch", "torchvision", "timm", "albumentations", "numpy")


def checked_config(job: Mapping[str, Any]) -> TrainConfig:
    """Turn a composed job into a config in which everything can be built; raises ConfigError with every problem."""
    config = to_config(job, TrainConfig)
    problems = check_leaves(config)
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def construct(node: Leaf, path: str, **provided: Any) -> Any:
    """Build what a leaf describes; what the constructor refuses becomes a ConfigError of one line."""
    try:
        return instantiate({**node, "_partial_": True}, _convert_="all")(**provided)
    except (InstantiationException, ValueError, TypeError) as error:
        raise _explained(error, node, path) from error


def _explained(error: Exception, node: Leaf, path: str) -> SegtrainError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SegtrainError):
        cause = cause.__cause__
    if isinstance(cause, SegtrainError):
        return cause
    inner = re.match("Error in call to target '(.+?)'", str(error))  # a node within this one
    name = inner[1] if inner else node[TARGET]
    root = error.__cause__ or error
    return ConfigError(f"{path}: {name} refuses its arguments: {' '.join(str(root).split())}; correct them")


def build_source(config: TrainConfig, split: Split) -> Source:
    """Open one split of the dataset; raises DataError where there is nothing in it or it cannot be used."""
    source: Source = construct(config.data.leaf, "data", split=split)
    if len(source) == 0:
        raise DataError(f"data.split={split}: holds no images; choose another split or check data.root")
    source.verify()
    return source


def build_feed(config: TrainConfig, source: Source, runtime: Runtime, *, training: bool) -> Feed:
    """Join a split with its transforms and its loader."""
    augment: Augment = construct(config.augment, "augment")
    pipeline = (augment.train_pipeline if training else augment.eval_pipeline)(config.data.image_size)
    dataset = AugmentedDataset(
        source, pipeline, seed=config.seed, limit=config.data.limit, cache_mb=config.data.cache_mb
    )
    return Feed(
        dataset,
        batch_size=config.data.batch_size,
        seed=config.seed,
        training=training,
        num_workers=config.data.num_workers,
        pin_memory=runtime.device.type == "cuda",
    )


def build_model(config: TrainConfig, task: Task, *, channels: int, pretrained: bool = True) -> Segmenter:
    """Build the model; without ``pretrained`` no weights are looked for."""
    leaf = config.encoder if pretrained else {**config.encoder, "weights": None}
    decoder_class = get_class(config.arch[TARGET])
    demands = getattr(decoder_class, "demands", Decoder.demands)
    encoder = construct(leaf, "encoder", in_channels=channels, demands=demands)
    decoder = construct(config.arch, "arch", **decoder_inputs(decoder_class, encoder))
    return assemble(encoder, decoder, num_classes=task.out_channels, class_names=task.class_names)


def build_loss(config: TrainConfig, task: Task) -> nn.Module:
    """Build the loss; every part of a sum is given the task."""
    loss: nn.Module = construct(_with_task(config.loss, task), "loss")
    return loss


def _with_task(node: Any, task: Task) -> Any:
    if not isinstance(node, Mapping):
        return node
    inner = {key: _with_task(value, task) for key, value in node.items()}
    return {**inner, "task": task} if TARGET in node else inner


def build_optimizer(config: OptimizerConfig, model: nn.Module, runtime: Runtime) -> Optimizer:
    """Build the optimizer over grouped parameters, fused where torch has it for the device."""
    groups = parameter_groups(
        model, lr=config.lr, weight_decay=config.weight_decay, encoder_lr_factor=config.encoder_lr_factor
    )
    fused = {"fused": True} if config.leaf[TARGET].startswith("torch.optim.") and runtime.device.type != "mps" else {}
    optimizer: Optimizer = construct(
        config.leaf, "optimizer", params=groups, lr=config.lr, weight_decay=config.weight_decay, **fused
    )
    return optimizer


def build_trainer(job: Mapping[str, Any], folder: Path, *, resumed: Mapping[str, Any] | None = None) -> Trainer:
    """Build all of a run; ``resumed`` is the checkpoint that it goes on from.

    Raises SegtrainError for whatever the user can mend, before the first step.
    """
    config = checked_config(job)
    runtime = make_runtime(config.device, config.trainer.precision, channels_last=config.trainer.channels_last)
    seed_everything(config.seed)
    train, val = build_source(config, "train"), build_source(config, "val")
    task = make_task(train.mode, train.class_names)
    model = build_model(config, task, channels=train.channels, pretrained=resumed is None)
    runtime.place(model)
    trainer = Trainer(
        model,
        task=task,
        loss=build_loss(config, task).to(runtime.device),
        optimizer=build_optimizer(config.optimizer, model, runtime),
        schedule=construct(config.scheduler, "scheduler"),
        train=build_feed(config, train, runtime, training=True),
        val=build_feed(config, val, runtime, training=False),
        runtime=runtime,
        options=config.trainer,
        saving=config.checkpoint,
        checkpoints=Checkpoints(folder / "checkpoints"),
        log=build_log(config, job, folder),
        description=describe(job, train, model),
    )
    if resumed is not None:
        resume(trainer, resumed)
    return trainer


def build_log(config: TrainConfig, job: Mapping[str, Any], folder: Path) -> RunLog:
    """Open the run's log."""
    choices = {
        "arch": config.arch[TARGET].rpartition(".")[2],
        "encoder": str(config.encoder.get("name", config.encoder[TARGET])),
        "loss": config.loss[TARGET].rpartition(".")[2],
        "optimizer": config.optimizer.leaf[TARGET].rpartition(".")[2],
        "lr": config.optimizer.lr,
        "batch_size": config.data.batch_size,
        "seed": config.seed,
    }
    text = yaml.safe_dump(dict(job), sort_keys=False)
    return RunLog(folder, construct(config.logger, "logger", folder=folder), config=text, choices=choices)


def describe(job: Mapping[str, Any], source: Source, model: Segmenter) -> dict[str, Any]:
    """Return what a checkpoint says beside the weights: enough to rebuild the model and its preprocessing."""
    return {
        "config": dict(job),
        "mode": source.mode,
        "class_names": list(source.class_names),
        "palette": [list(colour) for colour in source.palette],
        "normalize": model.normalize.config(),
        "versions": {"segtrain": __version__, **{name: version(name) for name in _LIBRARIES}},
    }


def resume(trainer: Trainer, payload: Mapping[str, Any]) -> None:
    """Put a trainer into the state of a checkpoint; raises CheckpointError where the two do not fit."""
    try:
        trainer.load_state_dict(payload)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"resume: the checkpoint does not fit the config ({reason}...), expected the model and the optimizer that "
            "it was saved with; leave out what changes them"
        ) from error
    trainer.log.rewind(trainer.state.log_bytes)


def restore(payload: Mapping[str, Any], path: Path) -> tuple[Segmenter, Task]:
    """Rebuild the trained model of a checkpoint on the CPU, in eval mode, and its task; looks for no other weights."""
    config = to_config(payload["config"], TrainConfig)
    task = make_task(payload["mode"], payload["class_names"])
    model = build_model(config, task, channels=len(payload["normalize"]["mean"]), pretrained=False)
    model.normalize = Normalize(**payload["normalize"])
    try:
        model.load_state_dict(payload.get("ema") or payload["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: its weights do not fit its own config ({reason}...); take another") from error
    return model.eval(), task


def load_model(path: str | Path) -> Segmenter:
    """Load a trained model from a run folder (its best checkpoint) or a checkpoint file, in eval mode on the CPU.

    ``model.normalize`` turns stored pixels into its input, ``model.class_names`` names its classes. Raises
    CheckpointError for a file that is damaged, foreign, or that would run code.
    """
    file = checkpoint.find(Path(path), best=True)
    payload = checkpoint.read(file)
    checkpoint.check_targets(payload["config"], file)
    return restore(payload, file)[0]


def load_predictor(path: Path, *, device: str, precision: Precision) -> Predictor:
    """Load what `segtrain predict` works with: model, preprocessing and palette, from a run folder or a checkpoint."""
    file = checkpoint.find(path, best=True)
    payload = checkpoint.read(file)
    checkpoint.check_targets(payload["config"], file)
    config = checked_config(payload["config"])
    model, task = restore(payload, file)
    runtime = make_runtime(device, precision, channels_last=config.trainer.channels_last)
    runtime.place(model)
    augment: Augment = construct(config.augment, "augment")
    fitting = augment.eval_pipeline(config.data.image_size).fitting
    palette = [tuple(colour) for colour in payload["palette"]]
    return Predictor(model, task=task, runtime=runtime, fitting=fitting, palette=palette)
