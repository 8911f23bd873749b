"""The config schema: keys that the trainer and the commands read, with types and bounds.

Defaults live in YAML. A *leaf* is only passed on: a mapping with ``_target_`` and keyword arguments,
checked against that callable's signature. A *mixed* node (arch, loss, image_head, data, optimizer)
has both, the keys named here and those of its leaf.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from segtrain.config.durations import FORM
from segtrain.config.signature import Pattern, Range

Leaf: TypeAlias = dict[str, Any]
Count = Annotated[int, Range(low=1)]
SMALLEST = 8
"""The least pixels per side of an image; smaller ones of their own size are padded to it."""
Side = Annotated[int, Range(low=SMALLEST)]
Seed = Annotated[int, Range(low=0, high=2**32 - 1)]  # what NumPy takes
Natural = Annotated[int, Range(low=0)]
NonNegative = Annotated[float, Range(low=0)]
Positive = Annotated[float, Range(above=0)]
Duration: TypeAlias = Positive | Annotated[str, Pattern(FORM, "a duration such as 2h30m")]  # numbers are minutes
Fraction = Annotated[float, Range(low=0, high=1)]
Confidence = Annotated[float, Range(above=0, high=0.9999)]
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
MatmulPrecision: TypeAlias = Literal["highest", "high", "medium"]
GroupOption: TypeAlias = Literal["lr_factor", "weight_decay"]
Split: TypeAlias = Literal["train", "val", "test", "all"]
CacheKind: TypeAlias = Literal["none", "ram", "disk"]
Resize: TypeAlias = Literal["antialias", "area"]
Fit: TypeAlias = Literal["stretch", "pad", "none"]
AnnotationFormat: TypeAlias = Literal["coco", "cvat", "geojson", "labelme"]
Sampling: TypeAlias = Literal["uniform", "class_balanced", "weighted"]
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
    """The auxiliary heads of deep supervision; the leaf builds the decoder."""

    aux_heads: list[Count]
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weight of the loss of each auxiliary head; the leaf builds the loss."""

    aux_weight: NonNegative
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class ImageHeadConfig:
    """The weight of the loss of whole-image labels; the leaf builds the head that predicts them."""

    weight: NonNegative
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Resizing, caching and batching of samples; the leaf builds the dataset."""

    batch_size: Count
    num_workers: Natural | Literal["auto"]
    worker_timeout: Natural
    image_size: Side | tuple[Side, Side]
    fit: Fit
    resize: Resize
    split: Split
    limit: Count | None
    sampling: Sampling
    cache: CacheKind
    cache_mb: Natural
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates and weight decay of the parameter groups; the leaf builds the optimizer."""

    lr: Positive
    weight_decay: NonNegative
    encoder_lr_factor: NonNegative
    layer_decay: Annotated[float, Range(above=0, high=1)] | None
    decay_positions: bool
    groups: dict[str, dict[GroupOption, NonNegative]] | None
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The training loop: its length, precision, gradient handling, validation and early stopping."""

    epochs: Count
    max_steps: Count | None
    max_time: Duration | None
    auto_resume: bool
    precision: Precision
    grad_accum_steps: Count
    clip_norm: Positive | None
    rollbacks: Natural
    rollback_factor: Annotated[float, Range(above=0, high=1)]
    ema_decay: Annotated[float, Range(low=0, high=0.999999)] | None  # 1 would never leave the initial weights
    val_every: Count
    monitor: Monitor
    patience: Count | None
    log_every: Count
    channels_last: bool
    strategy: Literal["auto", "ddp", "fsdp"]
    sync_batchnorm: bool
    activation_checkpointing: bool
    compile: bool | Literal["reduce-overhead"]
    float32_matmul_precision: MatmulPrecision
    cudnn_benchmark: bool
    profile_steps: Natural


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are saved, and how many of the best are kept."""

    every_steps: Count | None
    every_minutes: Positive | None
    keep_top_k: Natural
    in_background: bool
    sharded: Literal["auto"] | bool


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
    infer: Leaf
    checkpoint: CheckpointConfig
    logger: Leaf


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The optional measures of an evaluation, and the size that images are scored at."""

    at: Literal["original", "input"]
    absent: Literal["exclude", "one", "zero"]
    bootstrap: Natural
    confidence: Confidence
    curves: bool
    boundary: bool
    surface: bool
    calibrate: bool


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """One evaluation of a checkpoint."""

    ckpt: str | list[str]
    output: str | None
    device: str
    precision: Precision
    eval: EvalOptions


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """One prediction over image files."""

    ckpt: str | list[str]
    input: str | list[str]
    output: str
    values: Literal["original", "labels", "palette", "colours"]
    device: str
    precision: Precision
    overlay: Fraction | None
    scores: list[Literal["probabilities", "uncertainty"]]
    annotations: list[AnnotationFormat]
    min_area: Natural
    tolerance: NonNegative
    suffix: Literal["auto", "png", "tif"]
    max_pixels: Count
    redo: bool


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """One scoring of predicted mask files against true ones."""

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
    confidence: Confidence
    boundary: bool
    surface: bool
    output: str | None


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """One examination of a data set, and the report of it."""

    report: Literal["html", "json"] | None
    output: str
    pictures: Natural


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """One picture of training images, as they are and as augmentation makes them."""

    output: str
    count: Count
    times: Count
    epoch: Natural


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """One step of a run, made again."""

    run: str
    step: Count | None


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """One start of several processes."""

    executor: Literal["torchrun", "slurm", "local", "ray"]
    nproc: Count | Literal["auto"]
    nodes: Count
    rendezvous: str | None
    job_id: str | None
    restarts: Natural
    time: Count
    jobs: Count | None
    logs: str
    partition: str | None
    slurm: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """One writing of a data set as shards."""

    output: str
    split: Split | None
    shard_mb: Count
    shuffle: bool


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """One comparison of two models over the same images."""

    a: str
    b: str
    split: str | None
    output: str | None
    bootstrap: Count
    confidence: Confidence
    seed: Seed
    pictures: Natural
    device: str
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """One averaging of the weights of checkpoints."""

    runs: list[str]
    output: str
    top: Annotated[int, Range(low=2)] | None
    update_bn: bool
    batches: Count | None
    device: str
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class LrFindConfig:
    """One learning-rate range test."""

    output: str
    lowest: Positive
    highest: Positive
    steps: Annotated[int, Range(low=20)]
    smoothing: Annotated[float, Range(low=0, high=0.99)]


@dataclass(frozen=True, kw_only=True)
class DiffConfig:
    """One listing of what differs between two runs."""

    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """One training of a run that was trained before."""

    run: str
    output: str | None


@dataclass(frozen=True, kw_only=True)
class VerifyResumeConfig:
    """One proof that a training goes on after kills as if there had been none."""

    steps: Annotated[int, Range(low=4)]
    kills: Count
    ranks: Count
    output: str | None


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """One estimate of a training on many GPUs."""

    gpus: Count | list[Count]
    per_node: Count
    strategy: Literal["ddp", "fsdp"] | None
    classes: Count | None
    memory: Positive
    tflops: Positive
    utilisation: Annotated[float, Range(above=0, high=1)]
    link: Positive
    network: Positive


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """One search for the settings of a training that are quick on a machine."""

    time: Duration
    memory: Annotated[str, Pattern(r"\d+(\.\d+)?[MG]", "a size such as 8G")] | None
    batch: Literal["keep", "larger"]
    margin: Annotated[float, Range(low=0, high=1)]
    preset: str


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """One import of a model of segmentation_models_pytorch as a checkpoint."""

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
