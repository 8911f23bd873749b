"""Building the parts of a run from a checked config; the only caller of Hydra's ``instantiate``."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from numpy.typing import NDArray
from torch import nn

from segtrain.config.schema import Leaf, Split, TrainConfig
from segtrain.config.signature import TARGET, locate
from segtrain.config.spine import check_leaves, leaves_with_texts, to_config
from segtrain.data.loading.augment import Augment
from segtrain.data.loading.composition import Composition, refuse_mixed_labels
from segtrain.data.loading.dataset import AugmentedDataset, OwnSizeDataset
from segtrain.data.loading.feed import Feed
from segtrain.data.loading.sampling import given_weights, require_some
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.data.pixel_counts import pixel_counts
from segtrain.data.sample import Source, admit
from segtrain.errors import ConfigError, DataError, SegtrainError
from segtrain.inference.methods import Whole
from segtrain.losses.class_weights import PixelCounts
from segtrain.models import (
    Activation,
    Decoder,
    Segmenter,
    add_maps,
    assemble,
    decoder_inputs,
)
from segtrain.runtime.cores import MOST_WORKERS, reading_workers
from segtrain.runtime.device import Runtime
from segtrain.runtime.world import ALONE, World
from segtrain.task import Task
from segtrain.training.objective import Objective

log = logging.getLogger(__name__)


def checked_config(job: Mapping[str, Any]) -> TrainConfig:
    """Convert a composed job to a config, leaves checked; raises `ConfigError` with every problem."""
    config = to_config(job, TrainConfig)
    problems = check_leaves(config)
    if problems:
        raise ConfigError("\n".join(problems))
    return leaves_with_texts(config)


def construct(node: Leaf, path: str, **provided: Any) -> Any:
    """Build the object of a leaf; what its constructor refuses is raised as a `ConfigError` of one line."""
    try:
        # partial, then called: Hydra would send ``provided`` through OmegaConf, which copies dicts and lists
        return instantiate({**node, "_partial_": True}, _convert_="all")(**provided)
    except (InstantiationException, ValueError, TypeError) as error:
        mistake = _mistake_within(error)
        if mistake is not None:
            raise mistake from mistake.__cause__  # not from error, which it caused: the chain would be a cycle
        raise _explained(error, node, path) from error


def _mistake_within(error: BaseException | None) -> SegtrainError | None:
    """Find our own error among the causes of Hydra's, which wraps all."""
    while error is not None and not isinstance(error, SegtrainError):
        error = error.__cause__
    return error


def _explained(error: Exception, node: Leaf, path: str) -> ConfigError:
    inner = re.match("Error in call to target '(.+?)'", str(error))  # a node within this one
    name = inner[1] if inner else node[TARGET]
    root = error.__cause__ or error
    return ConfigError(f"{path}: {name} refuses its arguments: {' '.join(str(root).split())}; correct them")


def open_source(config: TrainConfig, split: Split) -> Source:
    """Open one split of the dataset without checking its files; raises `DataError` where it is empty."""
    source = admit(construct(config.data.leaf, "data", split=split))
    if len(source) == 0:
        raise DataError(f"data.split={split}: holds no images; choose another split or check data.root")
    return source


def build_feed(
    config: TrainConfig,
    source: Source,
    runtime: Runtime,
    *,
    training: bool,
    own_size: bool = False,
    world: World = ALONE,
) -> Feed:
    """Combine a split with transforms and loader; ``own_size`` adds the original masks, to score at their size."""
    dataset = build_dataset(config, source, training=training, own_size=own_size)
    alone = not training and build_inference(config).own_size  # images of one batch would be padded to the largest
    if training:
        place_transforms(config, dataset, runtime, world)
    return Feed(
        dataset,
        batch_size=1 if alone else config.data.batch_size,
        seed=config.seed,
        training=training,
        num_workers=workers_of(config, training=training),
        pin_memory=runtime.device.type == "cuda",
        device=runtime.device,
        weights=sampling_weights(config, dataset) if training else None,
        timeout=config.data.worker_timeout,
        mixup=config.augment.get("mixup", 0.0),
        rank=world.rank,
        ranks=world.size,
    )


def place_transforms(config: TrainConfig, dataset: AugmentedDataset, runtime: Runtime, world: World) -> None:
    """Let the GPU augment as ``augment.device`` says; raises `ConfigError` where there is none.

    With several ranks ``auto`` leaves it to the workers: each rank would find another epoch to begin with.
    """
    placing, device = config.augment.get("device", "auto"), runtime.device
    if placing == "cuda" and device.type != "cuda":
        raise ConfigError(f"augment.device=cuda: training runs on {device}, expected a GPU; write augment.device=auto")
    if placing == "auto" and not world.is_alone:
        placing = "cpu"
    if placing != "cpu" and device.type == "cuda":
        dataset.move_transforms(device, placing)


def build_dataset(config: TrainConfig, source: Source, *, training: bool, own_size: bool = False) -> AugmentedDataset:
    """Build the samples of a split as the model gets them: in training augmented, and crops where those are asked for.

    ``own_size`` is that of `build_feed`.
    """
    augment: Augment = construct(config.augment, "augment")
    fitting = build_fitting(config) if training else inference_fitting(config)
    pipeline = Pipeline(fitting, augment.transforms if training else ())
    seed, limit = config.seed, config.data.limit
    if own_size:
        return OwnSizeDataset(source, pipeline, seed=seed, limit=limit)
    kind, budget = config.data.cache, config.data.cache_mb
    dataset = AugmentedDataset(source, pipeline, seed=seed, limit=limit, cache=kind, cache_mb=budget)
    dataset.suit_pipeline()
    if training and augment.crops:
        if source.image_labels:
            refuse_mixed_labels(augment)
        index = dataset.class_index if augment.needs_class_index else None
        dataset.composition = Composition(augment, pipeline.fitting, length=len(dataset), index=index)
    return dataset


def workers_of(config: TrainConfig, *, training: bool) -> int:
    """Return the number of worker processes; logs the one that was chosen."""
    if config.data.num_workers != "auto":
        return config.data.num_workers
    chosen = reading_workers()
    if training:
        log.info("data: %d workers read ahead: one a core, up to %d (data.num_workers=auto)", chosen, MOST_WORKERS)
    return chosen


def sampling_weights(config: TrainConfig, dataset: AugmentedDataset) -> NDArray[np.float64] | None:
    """Return how often each sample of a training is to be drawn, relative to the others; None: once."""
    sampling = config.data.sampling
    if sampling == "uniform":
        return None
    balanced = sampling == "class_balanced"
    weights = dataset.class_index.balanced_weights() if balanced else given_weights(dataset.source)[dataset.indices]
    return require_some(weights, sampling)


def build_model(
    config: TrainConfig,
    task: Task,
    *,
    channels: int,
    image_classes: Sequence[str] = (),
    activation: Activation | None = None,
    pretrained: bool = True,
) -> Segmenter:
    """Build the model; without ``pretrained``, no pretrained weights are loaded.

    ``image_classes`` are the classes of a head for labels of whole images; raises `ConfigError` if
    there is such a head and they are empty.
    """
    if config.image_head and not image_classes:
        raise ConfigError(
            "image_head: the data gives no labels of whole images to learn; set data.image_labels=breed "
            "(data=oxford_pets) or data.image_labels=labels.csv (data=folder), or image_head=null"
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
        classification_head=construct(config.image_head.leaf, "image_head", **told) if config.image_head else None,
        class_names=task.class_names,
        image_classes=image_classes if config.image_head else (),
    )


def build_objective(config: TrainConfig, task: Task, train: Source) -> Objective:
    """Build the loss, each term of a sum with the task, and its weighted sum with those of other heads.

    Pixels of each class are counted, or read from the cache, if a term derives class weights from them.
    """
    counts = cache(lambda: pixel_counts(train, len(task.label_names)))  # once, and only if a term asks
    loss: nn.Module = construct(_with_task(config.loss.leaf, task, counts, shared={}), "loss")
    return Objective(
        loss, aux_weight=config.loss.aux_weight, label_weight=config.image_head.weight if config.image_head else 0.0
    )


def _with_task(node: Any, task: Task, counts: Callable[[], PixelCounts], shared: Mapping[str, Any]) -> Any:
    """Add the task to each loss in a node, and the options of a sum to those of its terms that lack them."""
    if not isinstance(node, Mapping):
        return node
    if TARGET not in node:
        left_out = node.get("weight") == 0  # an unused term: class weights would be logged in vain
        return {key: _with_task(value, task, counts, {} if left_out else shared) for key, value in node.items()}
    taken = signature(locate(node[TARGET], "loss")).parameters.keys() & shared.keys()
    own = {**node, **{key: shared[key] for key in taken if node.get(key) is None}}
    if "terms" in node:
        shared = {key: own.pop(key, None) for key in ("classes", "class_weights")}
    inner = {key: _with_task(value, task, counts, shared) for key, value in own.items()}
    by_scheme = isinstance(own.get("class_weights"), str)
    return {**inner, "task": task, **({"pixel_counts": counts()} if by_scheme else {})}


def build_fitting(config: TrainConfig) -> Fitting:
    """Build the resizing of a run."""
    return Fitting(config.data.fit, config.data.image_size, config.data.resize)


def inference_fitting(config: TrainConfig) -> Fitting:
    """Build the resizing of images that are not trained on: tiles are cut from images of their own size."""
    if not build_inference(config).own_size:
        return build_fitting(config)
    return Fitting("none", config.data.image_size, config.data.resize)


def build_inference(config: TrainConfig) -> Whole:
    """Build how images are shown to a network that does not train."""
    method: Whole = construct(config.infer, "infer")
    return method
