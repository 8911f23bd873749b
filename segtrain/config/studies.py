"""The schema of what makes, finds and lists many runs: sweeps, searches, and the table of runs."""

from dataclasses import dataclass
from typing import Any, Literal

from segtrain.config.schema import Confidence, Count


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep runs, and from when on one of its results is better than another."""

    dry_run: bool
    fresh: bool
    confidence: Confidence


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The keys of a sweep beside those of its jobs."""

    sweep: SweepOptions


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """One search for the best values of some keys."""

    space: dict[str, Any] | str
    trials: Count
    sampler: Literal["tpe", "gp", "random", "qmc"]
    pruner: Literal["hyperband", "halving", "median", "none"]
    storage: str | None
    output: str | None


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """One list of the runs below a folder."""

    folder: str
    sort: str
    where: str | list[str] | None
    format: Literal["table", "csv", "json"]
    limit: Count | None
