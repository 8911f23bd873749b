"""The config schema of the commands that make pages: `segtrain report` and `segtrain demo`; defaults live in YAML."""

from dataclasses import dataclass
from typing import Annotated

from segtrain.config.schema import Count, Natural, Precision
from segtrain.config.signature import Range


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """One page on a run, or on several."""

    runs: list[str]
    split: str | None
    output: str | None
    fresh: bool
    pictures: Natural
    suspects: Natural


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """One serving of a page for a model."""

    ckpt: str
    port: Annotated[int, Range(low=0, high=65535)]
    max_mb: Count
    max_pixels: Count
    patience: Count
    device: str
    precision: Precision
