"""The config schema of commands that ship and measure a trained model."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from segtrain.config.schema import Count, Fraction, NonNegative, Positive, Precision, Side
from segtrain.config.signature import Pattern

Format: TypeAlias = Literal["onnx", "torch_export", "safetensors", "hub_folder"]
Shapes: TypeAlias = Literal["dynamic", "batch", "static"]
Backend: TypeAlias = Literal["torch", "compiled", "onnx"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """One export of a checkpoint, and how closely what was written has to agree with it."""

    ckpt: str
    output: str | None
    format: Format
    gives: Literal["logits", "probabilities", "labels"]
    shapes: Shapes
    batch: Count
    resize: Literal["auto"] | bool
    pixels: Literal["uint8", "uint16", "float32"] | None
    quantize: Literal["int8"] | None
    images: str | None
    check: Count
    tolerance: Positive
    iou_tolerance: Fraction
    max_drop: Fraction
    calibration: Count
    bootstrap: Count
    push: Annotated[str, Pattern(r"[\w.-]+/[\w.-]+", "a repository such as user/name")] | None


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """One measurement of a model: its costs, and its speed by backend, size and batch."""

    ckpt: str | None
    classes: Count | None
    backends: list[Backend]
    sizes: list[Side] | None
    batches: list[Count]
    seconds: Positive
    device: str
    precision: Precision
    threads: Count | None
    output: str
    warmup: NonNegative
