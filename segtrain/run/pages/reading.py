"""What a run folder holds for its page, read once."""

import csv
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrain.errors import DataError
from segtrain.evaluation.reports import REPORT, SPLITS_FOLDER, Report, read_report
from segtrain.run.record import Record
from segtrain.storage import read_text

LOOK = "closer_look.json"
"""In the folder of a report: what `segtrain report` found with the model, beside the scores."""


@dataclass(frozen=True)
class RunFiles:
    """A run folder: config and starts, the lines of metrics.jsonl, all scores, and one report with what belongs to it.

    ``report`` is None for a run that has none of that name; ``look`` is None where the model was not looked at closer,
    or for another evaluation than the report's.
    """

    record: Record
    history: list[dict[str, Any]]
    scores: dict[str, dict[str, Any]]
    name: str
    report: Report | None
    look: dict[str, Any] | None

    @classmethod
    def of(cls, folder: Path, name: str, *, key: str = "runs") -> "RunFiles":
        """Read a folder; raises `SegtrainError` where it holds no run, or files of another content."""
        record = Record.of(folder, key=key)
        place = folder / SPLITS_FOLDER / name
        has_report = (place / REPORT).is_file()
        return cls(
            record=record,
            history=read_history(folder / "metrics.jsonl"),
            scores=_read_json(folder / "scores.json") or {},
            name=name,
            report=read_report(place) if has_report else None,
            look=read_look(place),
        )

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.record.folder

    @property
    def place(self) -> Path:
        """The folder of the report."""
        return self.folder / SPLITS_FOLDER / self.name

    def table(self, name: str) -> list[list[str]]:
        """Read the rows of a CSV file of the report, its header first; empty where there is none."""
        file = self.place / name
        return list(csv.reader(io.StringIO(read_text(file), newline=""))) if file.is_file() else []


def read_history(file: Path) -> list[dict[str, Any]]:
    """Read the lines of metrics.jsonl; the last one is left out where it is not whole, as of a run at work."""
    if not file.is_file():
        return []
    lines = read_text(file).splitlines()
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise DataError(f"{file}: line {number} is no JSON, expected what training wrote; restore it") from None
    return found


def read_look(place: Path) -> dict[str, Any] | None:
    """Read what was found with the model; None without it, or where the report beside it is another one by now."""
    look = _read_json(place / LOOK)
    if look is None or look.get("report") != digest(place / REPORT):
        return None
    return look


def digest(file: Path) -> str | None:
    """Return the hash of a file's content; None where there is none."""
    with suppress(OSError):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return None


def _read_json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    with suppress(ValueError):
        found = json.loads(read_text(file))
        if isinstance(found, dict):
            return found
    raise DataError(f"{file}: is damaged, expected what segtrain wrote there; remove it")
