"""scores.json of a run folder: its best validation, and what evaluations added; read without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrain.storage import read_text, write_text

TRAINING = "training"
"""Suffix for the name of a split whose scores are those of the validation during training."""


def read_scores(folder: Path) -> dict[str, Any]:
    """Read scores.json; empty where there is none."""
    file = folder / "scores.json"
    scores: dict[str, Any] = json.loads(read_text(file)) if file.exists() else {}
    return scores


def best_of(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of the best validation among those of scores.json, under either name; empty without any."""
    # only training writes a step: an evaluation may have taken the name val
    best: dict[str, Any] = next(
        (scores[name] for name in ("val", f"val-{TRAINING}") if "step" in scores.get(name, {})), {}
    )
    return best


def best_scores(folder: Path) -> dict[str, Any]:
    """Return the scores of a run's best validation; empty without any."""
    return best_of(read_scores(folder))


def write_scores(folder: Path, split: str, scores: Mapping[str, Any]) -> Path:
    """Set one split's entry of scores.json, and return the file."""
    file = folder / "scores.json"
    write_text(file, json.dumps({**read_scores(folder), split: scores}, indent=2, allow_nan=False) + "\n")
    return file
