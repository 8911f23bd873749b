"""The composition root: the only place that turns a checked config into objects."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from torch import nn
from torch.optim import Optimizer

from segtrain import __version__, checkpoint
from segtrain.checkpoint import Checkpoints
from segtrain.config.choices import choices
from segtrain.config.schema import Leaf, OptimizerConfig, Precision, Split, TrainConfig
from segtrain.config.signature import TARGET, locate
from segtrain.config.spine import check_leaves, leaves_with_texts, to_config
from segtrain.data.feed import Feed
from segtrain.data.first_look import with_values
from segtrain.data.folder import checked_range
from segtrain.data.images import ANY_SIZE
from segtrain.data.loader import AugmentedDataset, OwnSizeDataset
from segtrain.data.pixel_counts import pixel_counts
from segtrain.data.sample import Colour, Source, admit
from segtrain.data.scale import TrainingScale, shrinkage, typical_size
from segtrain.data.transforms import Augment, Fitting
from segtrain.errors import CheckpointError, ConfigError, DataError, SegtrainError
from segtrain.losses.class_weights import PixelCounts
from segtrain.models import (
    Activation,
    Decoder,
    Normalize,
    SegmentationHead,
    Segmenter,
    add_maps,
    assemble,
    decoder_inputs,
    transfer_weights,
)
from segtrain.objective import Objective
from segtrain.operating_point import OperatingPoint
from segtrain.optim import parameter_groups
from segtrain.predictor import ImagePredictor, Preprocess
from segtrain.resuming import resume
from segtrain.runlog import RunLog
from segtrain.runtime import Runtime, make_runtime, seed_everything
from segtrain.task import Task, make_task
from segtrain.trainer import Trainer

log = logging.getLogger(__name__)

_LIBRARIES = ("torch", "torchvision", "timm", "albumentations", "numpy")


def checked_config(job: Mapping[str, Any]) -> TrainConfig:
    """Turn a composed job into a config in which everything can be built; raises ConfigError with every problem."""
    config = to_config(job, TrainConfig)
    problems = check_leaves(config)
    if problems:
        raise ConfigError("\n".join(with_values(problems, config.data.leaf)))
    return leaves_with_texts(config)


def construct(node: Leaf, path: str, **provided: Any) -> Any:
    """Build what a leaf describes; what the constructor refuses becomes a ConfigError of one line."""
    try:
        return instantiate({**node, "_partial_": True}, _convert_="all")(**provided)
    except (InstantiationException, ValueError, TypeError) as error:
        mistake = _mistake_within(error)
        if mistake is not None:
            raise mistake from mistake.__cause__  # not from error, which it caused: the chain would be a ring
        raise _explained(error, node, path) from error


def _mistake_within(error: BaseException | None) -> SegtrainError | None:
    while error is not None and not isinstance(error, SegtrainError):
        error = error.__cause__
    return error


def _explained(error: Exception, node: Leaf, path: str) -> ConfigError:
    inner = re.match("Error in call to target '(.+?)'", str(error))  # a node within this one
    name = inner[1] if inner else node[TARGET]
    root = error.__cause__ or error
    return ConfigError(f"{path}: {name} refuses its arguments: {' '.join(str(root).split())}; correct them")


def open_source(config: TrainConfig, split: Split) -> Source:
    """Open one split of the dataset, without a look into its files; raises DataError where there are none."""
    source = admit(construct(config.data.leaf, "data", split=split))
    if len(source) == 0:
        raise DataError(f"data.split={split}: holds no images; choose another split or check data.root")
    return source


def build_source(config: TrainConfig, split: Split) -> Source:
    """Open one split of the dataset and verify it; raises DataError where it cannot be used."""
    source = open_source(config, split)
    source.verify()
    return source


def build_feed(
    config: TrainConfig, source: Source, runtime: Runtime, *, training: bool, own_size: bool = False
) -> Feed:
    """Join a split with its transforms and its loader; with ``own_size`` its masks stay as they are beside."""
    augment: Augment = construct(config.augment, "augment")
    pipeline = (augment.train_pipeline if training else augment.eval_pipeline)(config.data.image_size)
    seed, limit = config.seed, config.data.limit
    dataset = (
        OwnSizeDataset(source, pipeline, seed=seed, limit=limit)
        if own_size
        else AugmentedDataset(source, pipeline, seed=seed, limit=limit, cache_mb=config.data.cache_mb)
    )
    dataset.suit_pipeline()
    return Feed(
        dataset,
        batch_size=config.data.batch_size,
        seed=config.seed,
        training=training,
        num_workers=config.data.num_workers,
        pin_memory=runtime.device.type == "cuda",
    )


def build_model(
    config: TrainConfig,
    task: Task,
    *,
    channels: int,
    image_classes: Sequence[str] = (),
    activation: Activation | None = None,
    pretrained: bool = True,
) -> Segmenter:
    """Build the model; without ``pretrained`` no weights are looked for.

    ``image_classes`` are what a head for labels of whole images predicts; raises ConfigError for such a head without.
    """
    if config.aux and not image_classes:
        raise ConfigError(
            "aux: the data gives no labels of whole images to learn; set data.image_labels=breed (data=oxford_pets) or "
            "data.image_labels=labels.csv (data=folder), or aux=null"
        )
    leaf = config.encoder if pretrained else {**config.encoder, "weights": None}
    decoder_class = get_class(config.arch.leaf[TARGET])
    demands = add_maps(getattr(decoder_class, "demands", Decoder.demands), config.arch.aux_heads)
    encoder = construct(leaf, "encoder", in_channels=channels, demands=demands)
    decoder = construct(config.arch.leaf, "arch", **decoder_inputs(decoder_class, encoder))
    told = {"in_channels": encoder.out_channels[-1], "num_classes": len(image_classes)}
    return assemble(
        encoder,
        decoder,
        num_classes=task.out_channels,
        activation=activation,
        aux_heads=config.arch.aux_heads,
        classification_head=construct(config.aux.leaf, "aux", **told) if config.aux else None,
        class_names=task.class_names,
        image_classes=image_classes if config.aux else (),
    )


def refuse_impossible(config: TrainConfig) -> None:
    """Build the model without memory: what cannot be combined is said before data is read or weights are fetched.

    Raises ConfigError; passes over parts that are not ours, which may not be made for that.
    """
    targets = (config.arch.leaf[TARGET], config.encoder[TARGET])
    if all(target.startswith("segtrain.") for target in targets):
        classes = ("any", "other") if config.aux else ()
        with torch.device("meta"):
            build_model(config, make_task("binary", ["any"]), channels=3, image_classes=classes, pretrained=False)


def build_objective(config: TrainConfig, task: Task, train: Source) -> Objective:
    """Build the loss, of which every part of a sum is given the task, and weigh those of other heads beside it.

    The pixels of each class are counted, or known from an earlier run, where a part makes weights from them.
    """
    counts = cache(lambda: pixel_counts(train, len(task.label_names)))
    loss: nn.Module = construct(_with_task(config.loss.leaf, task, counts, shared={}), "loss")
    return Objective(loss, aux_weight=config.loss.aux_weight, label_weight=config.aux.weight if config.aux else 0.0)


def _with_task(node: Any, task: Task, counts: Callable[[], PixelCounts], shared: Mapping[str, Any]) -> Any:
    """Give each loss in a node the task and, where it says nothing itself, what is shared by the terms of its sum."""
    if not isinstance(node, Mapping):
        return node
    if TARGET not in node:
        left_out = node.get("weight") == 0  # what shared options give it would be logged in vain
        return {key: _with_task(value, task, counts, {} if left_out else shared) for key, value in node.items()}
    taken = signature(locate(node[TARGET], "loss")).parameters.keys() & shared.keys()
    own = {**node, **{key: shared[key] for key in taken if node.get(key) is None}}
    if "terms" in node:
        shared = {key: own.pop(key, None) for key in ("classes", "class_weights")}
    inner = {key: _with_task(value, task, counts, shared) for key, value in own.items()}
    by_scheme = isinstance(own.get("class_weights"), str)
    return {**inner, "task": task, **({"pixel_counts": counts()} if by_scheme else {})}


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
        description=describe(job, model, task, palette=train.palette, source=train),
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
    logger = construct(config.logger, "logger", folder=folder)
    return RunLog(folder, logger, config=text, choices=choices(config), monitor=config.trainer.monitor)


def describe(
    job: Mapping[str, Any],
    model: Segmenter,
    task: Task,
    *,
    palette: Sequence[Colour],
    source: Source | None = None,
) -> dict[str, Any]:
    """Return what a checkpoint says beside the weights: enough to rebuild the model and its preprocessing.

    ``source`` are the images that the model was trained on: their typical height and width, and type of number.
    """
    return {
        "config": dict(job),
        "mode": task.mode,
        "class_names": list(task.class_names),
        "image_classes": list(model.image_classes),
        "palette": [list(colour) for colour in palette],
        "typical_size": None if source is None else list(typical_size(source)),
        "trained_on": None if source is None else source[0].image.dtype.name,
        "normalize": model.normalize.config(),
        "versions": {"segtrain": __version__, **{name: version(name) for name in _LIBRARIES}},
    }


def restore(payload: Mapping[str, Any], path: Path, *, activation: Activation | None = None) -> tuple[Segmenter, Task]:
    """Rebuild the trained model of a checkpoint on the CPU, in eval mode, and its task; looks for no other weights.

    It comes without the heads that only training uses.
    """
    config = to_config(payload["config"], TrainConfig)
    point = OperatingPoint.of(payload)
    task = make_task(payload["mode"], payload["class_names"], cuts=point.cuts())
    model = build_model(
        config,
        task,
        channels=len(payload["normalize"]["mean"]),
        image_classes=payload.get("image_classes", ()),
        activation=activation,
        pretrained=False,
    )
    model.normalize = Normalize(**payload["normalize"])
    try:
        model.load_state_dict(payload.get("ema") or payload["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: its weights do not fit its own config ({reason}...); take another") from error
    model.aux_heads.clear()
    model.thresholds = point.thresholds
    model.config = dict(payload["config"])
    model.preprocess = Preprocess(build_fitting(config), model.normalize, trained_on=payload.get("trained_on"))
    if activation is not None:
        assert isinstance(model.segmentation_head, SegmentationHead)
        model.segmentation_head.cool(point.temperature)
    return model.eval(), task


def load_model(path: str | Path, *, activation: Activation | None = None, trust: Sequence[str] = ()) -> Segmenter:
    """Load a trained model from a run folder (its best checkpoint) or a checkpoint file, in eval mode on the CPU.

    ``model.preprocess(image)`` turns pixels ``(H, W, C)`` as a file holds them into its input, at the size that it was
    trained at, and ``model.preprocess.restore(logits, image.shape[:2])`` brings its logits back to the image's size: so
    does `segtrain predict`, and `segtrain.Predictor` in one call. ``model.normalize`` alone leaves the size as it is.
    ``model.class_names`` names its classes; if it was trained with labels of whole images it answers ``(logits,
    labels)``, and ``model.image_classes`` names those. With an
    ``activation`` it gives the pixels' probabilities in place of their logits, calibrated by the temperature that
    `segtrain eval eval.calibrate=true` stored; ``model.thresholds`` are those that it found. A model with classes of
    your own needs them named: ``trust=["my_package.MyDecoder"]``. Raises CheckpointError for a file that is damaged,
    foreign, or that would run code, and ConfigError for an activation that makes no sense.
    """
    file = checkpoint.find(Path(path), best=True)
    payload = checkpoint.read(file)
    checkpoint.check_targets(payload["config"], file, named_by_user=trust)
    return restore(payload, file, activation=activation)[0]


def build_fitting(config: TrainConfig) -> Fitting:
    """Build what brings images to the size of a run."""
    augment: Augment = construct(config.augment, "augment")
    return augment.eval_pipeline(config.data.image_size).fitting


def with_changed_range(normalize: Normalize, trained: Mapping[str, Any], job: Mapping[str, Any]) -> Normalize:
    """Return a run's normalisation with the ``data.value_range`` of a job, where that is another one than the run's.

    Raises ConfigError where it does not ascend.
    """
    before, now = (config["data"].get("value_range") for config in (trained, job))
    return normalize if before == now else Normalize(normalize.mean, normalize.std, input_range=checked_range(now))


def training_scale(payload: Mapping[str, Any], config: TrainConfig) -> TrainingScale:
    """Compare how much images are shrunk under a config with how much those of a checkpoint's training were."""
    typical = payload.get("typical_size")
    trained = build_fitting(to_config(payload["config"], TrainConfig))
    return TrainingScale(build_fitting(config), None if typical is None else shrinkage(trained, typical))


def make_predictor(
    payload: Mapping[str, Any], job: Mapping[str, Any], file: Path, *, device: str, precision: Precision
) -> ImagePredictor:
    """Make what `segtrain predict` works with: the model of a checkpoint, and the fitting of its run's config."""
    config = checked_config(job)
    model, task = restore(payload, file)
    model.normalize = with_changed_range(model.normalize, payload["config"], job)
    runtime = make_runtime(device, precision, channels_last=config.trainer.channels_last)
    runtime.place(model)
    return ImagePredictor(
        model,
        task=task,
        runtime=runtime,
        preprocess=Preprocess(
            build_fitting(config),
            model.normalize,
            trained_on=payload.get("trained_on"),
            max_pixels=config.data.leaf.get("max_pixels", ANY_SIZE),
        ),
        palette=[tuple(colour) for colour in payload["palette"]],
        scale=training_scale(payload, config),
    )
