"""The results of a sweep or a search, read from its folder, and their page."""

import json
import math
from pathlib import Path
from typing import Any

import yaml

from segtrain.drawing.sweep_page import Result, Value, sweep_page
from segtrain.errors import ConfigError
from segtrain.run.ledger import FILE as SWEEP
from segtrain.storage import read_text, write_text

SEARCH = "search.json"
PAGE = "report.html"
VERDICT = "verdict.txt"


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder is that of a sweep or a search."""
    return any((folder / name).is_file() for name in (SWEEP, SEARCH))


def write_page(folder: Path, monitor: str | None = None, *, confidence: float = 0.95) -> Path:
    """Write report.html of a sweep or search, and return the file.

    ``monitor`` is the score to rank by, such as ``iou``; None: that of the trainings. Raises `ConfigError` where the
    folder holds neither.
    """
    said, by = folder / VERDICT, monitor or monitor_of(folder)
    page = sweep_page(
        read_results(folder, by),
        title=str(folder),
        monitor=by,
        verdict=read_text(said).strip() if said.is_file() else "",
        confidence=confidence,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def monitor_of(folder: Path) -> str:
    """Return the score that the trainings of a sweep or search watched, without ``val/``; iou where none has begun."""
    for file in sorted(folder.glob("*/config.yaml")):
        return str(yaml.safe_load(read_text(file))["trainer"]["monitor"]).removeprefix("val/")
    return "iou"


def read_results(folder: Path, monitor: str) -> list[Result]:
    """Return the jobs of a sweep, or the trials of a search, from best to worst; those without a score are last."""
    if (folder / SWEEP).is_file():
        jobs = json.loads(read_text(folder / SWEEP))["jobs"]
        found = [_of_sweep(job, folder, monitor) for job in jobs]
    elif (folder / SEARCH).is_file():
        found = [_of_search(trial, folder) for trial in json.loads(read_text(folder / SEARCH))["trials"]]
    else:
        raise ConfigError(f"{folder}: holds no sweep and no search, expected outputs/sweeps/<time>, say")
    sign = 1 if monitor == "loss" else -1
    return sorted(found, key=lambda result: math.inf if result.score is None else sign * result.score)


def _of_sweep(job: dict[str, Any], folder: Path, monitor: str) -> Result:
    pairs = [word.partition("=") for word in job["varied"]]
    return Result(
        number=job["number"],
        varied={key: _value(value) for key, _, value in pairs},
        score=job["scores"].get(monitor),
        state=job["state"],
        folder=str(folder / str(job["number"])),
        seconds=job["seconds"],
        error=job["error"],
        page=_page_of(folder, job["number"]),
    )


def _of_search(trial: dict[str, Any], folder: Path) -> Result:
    return Result(
        number=trial["trial"],
        varied=trial["varied"],
        score=trial["score"],
        state=trial["state"],
        folder=str(folder / str(trial["trial"])),
        seconds=trial["seconds"],
        error=trial["error"],
        page=_page_of(folder, trial["trial"]),
    )


def _page_of(folder: Path, number: int) -> str:
    """Return where the page of a job lies, as seen from that of all; empty where there is none."""
    return f"{number}/{PAGE}" if (folder / str(number) / PAGE).is_file() else ""


def _value(text: str) -> Value:
    """Read a value of an override as number, text or nothing; a list stays a text."""
    try:
        return float(text) if any(sign in text for sign in ".eE") else int(text)
    except ValueError:
        pass
    read = yaml.safe_load(text) if text in ("true", "false", "null") else text.strip("\"'")
    return None if read is None else read if isinstance(read, bool) else str(read)
