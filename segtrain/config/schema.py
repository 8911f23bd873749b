"""The spine: what the trainer and the commands read. Defaults live in YAML, types and bounds here.

A *leaf* is what is only passed on: a mapping with ``_target_`` and keyword arguments, checked against that
callable's signature. A *mixed* node (arch, loss, image_head, data, optimizer) holds both: the keys named here, and the
leaf's.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from segtrain.config.signature import Range

Leaf: TypeAlias = dict[str, Any]
Count = Annotated[int, Range(low=1)]
SMALLEST = 8
"""Pixels per side that an image has at least; what keeps its own size is filled up to that."""
Side = Annotated[int, Range(low=SMALLEST)]
Seed = Annotated[int, Range(low=0, high=2**32 - 1)]  # what NumPy takes
Natural = Annotated[int, Range(low=0)]
NonNegative = Annotated[float, Range(low=0)]
Positive = Annotated[float, Range(above=0)]
Fraction = Annotated[float, Range(low=0, high=1)]
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
Split: TypeAlias = Literal["train", "val", "test", "all"]
Fit: TypeAlias = Literal["stretch", "pad", "none"]
Monitor: TypeAlias = Literal[
    "val/iou",
    "val/iou_imagewise",
    "val/iou_micro",
    "val/f1",
    "val/precision",
    "val/recall",
    "val/accuracy",
    "val/loss",
]


@dataclass(frozen=True, kw_only=True)
class ArchConfig:
    """What supervises the encoder while training; the leaf builds the decoder."""

    aux_heads: list[Count]
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the loss of an auxiliary head weighs; the leaf builds the loss."""

    aux_weight: NonNegative
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class ImageHeadConfig:
    """What the labels of whole images weigh in the loss; the leaf builds the head that predicts them."""

    weight: NonNegative
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How samples are read and batched; the leaf builds the dataset."""

    batch_size: Count
    num_workers: Natural
    image_size: Side | tuple[Side, Side]
    fit: Fit
    split: Split
    limit: Count | None
    cache_mb: Natural
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How parameters are grouped; the leaf builds the optimizer."""

    lr: Positive
    weight_decay: NonNegative
    encoder_lr_factor: NonNegative
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how precisely and how carefully the loop runs."""

    epochs: Count
    max_steps: Count | None
    precision: Precision
    grad_accum_steps: Count
    clip_norm: Positive | None
    ema_decay: Annotated[float, Range(low=0, high=0.999999)] | None
    val_every: Count
    monitor: Monitor
    patience: Count | None
    log_every: Count
    channels_last: bool
    profile_steps: Natural


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the run is saved, and how many of its best states are kept."""

    every_steps: Count | None
    every_minutes: Positive | None
    keep_top_k: Natural


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    name: str
    seed: Seed
    device: str
    resume: str | None
    init_from: str | None
    arch: ArchConfig
    encoder: Leaf
    loss: LossConfig
    image_head: ImageHeadConfig | None
    augment: Leaf
    data: DataConfig
    optimizer: OptimizerConfig
    scheduler: Leaf
    trainer: TrainerConfig
    checkpoint: CheckpointConfig
    logger: Leaf


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What an evaluation measures, and at which size."""

    at: Literal["original", "input"]
    absent: Literal["exclude", "one", "zero"]
    bootstrap: Natural
    confidence: Annotated[float, Range(above=0, high=0.9999)]
    curves: bool
    boundary: bool
    surface: bool
    calibrate: bool


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """One evaluation of a checkpoint."""

    ckpt: str
    output: str | None
    device: str
    precision: Precision
    eval: EvalOptions


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """One prediction over files."""

    ckpt: str
    input: str
    output: str
    device: str
    precision: Precision
    overlay: Fraction | None


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """One scoring of mask files against the true ones."""

    pred: str
    truth: str
    mode: Literal["multilabel"] | None
    classes: list[str] | None
    missing: Literal["error", "absent", "ignore"]
    ignore_index: int | list[int] | None
    class_map: dict[int | str, int | str] | None
    pred_map: dict[int | str, int | str] | None
    as_: Literal["segtrain", "smp", "mmseg", "torchvision"]
    absent: Literal["exclude", "one", "zero"]
    bootstrap: Natural
    confidence: Annotated[float, Range(above=0, high=0.9999)]
    boundary: bool
    surface: bool
    output: str | None


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """One comparison of two scored splits."""

    a: str
    b: str
    split: str | None
    output: str | None
    bootstrap: Count
    confidence: Annotated[float, Range(above=0, high=0.9999)]
    seed: Seed
    pictures: Natural
    device: str
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """One model of segmentation_models_pytorch to be made into a checkpoint."""

    smp: str
    output: str
    arch: str | None
    encoder: str | None
    model: dict[str, Any] | None
    mode: Literal["binary", "multiclass", "multilabel"] | None
    classes: list[str] | None
    image_classes: list[str] | None
    mean: list[float] | None
    std: list[Positive] | None
