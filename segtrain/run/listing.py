"""All runs below a folder, read from their small files, without torch: what they are, and how far they came."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.differing import ABSENT
from segtrain.config.renamed import with_current_names
from segtrain.config.signature import TARGET
from segtrain.errors import ConfigError
from segtrain.run.folders import is_locked
from segtrain.run.scores import best_of, read_scores
from segtrain.run.status import Status, read_status
from segtrain.storage import read_text
from segtrain.suggest import did_you_mean

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
_CONDITION = re.compile(r"\s*([\w./@-]+?)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*")
_GROUPS = ("arch", "encoder", "loss", "optimizer", "scheduler", "augment", "data", "logger")
_OWN = ("state", "folder", "name", "step", "steps", "parameters", "seconds")
_PASSED_OVER = frozenset({"checkpoints", "tensorboard", "eval", "wandb"})


@dataclass(frozen=True)
class Found:
    """A run: its folder, config, status (None where an earlier version made it), state, and scores by split."""

    folder: Path
    config: Mapping[str, Any]
    status: Status | None
    state: str
    scores: Mapping[str, Any]

    def value(self, key: str) -> Any:
        """Return a score such as ``val/iou``, a value of the config, or of the run; `ABSENT` without it."""
        split, slash, name = key.partition("/")
        if slash:
            scores = self._best if split == "val" else self.scores.get(split, {})
            return scores.get(name, ABSENT)
        if key in ("state", "folder"):
            return str(getattr(self, key))
        if key in _OWN and key != "name":
            return ABSENT if self.status is None else getattr(self.status, key)
        return _word(key, _at(self.config, key))

    @property
    def _best(self) -> Mapping[str, Any]:
        return best_of(self.scores) or self.scores.get("val", {})

    def keys(self) -> Iterator[str]:
        """Yield all keys that `value` knows."""
        yield from _OWN
        yield from (f"val/{name}" for name in self._best)
        yield from (f"{split}/{name}" for split in self.scores if split != "val" for name in self.scores[split])
        yield from _dotted(self.config)


@dataclass(frozen=True)
class Condition:
    """A filter of runs, such as ``val/iou>0.8`` or ``encoder.name=resnet34``."""

    key: str
    sign: str
    value: Any

    @classmethod
    def of(cls, text: str) -> "Condition":
        """Read a condition; raises `ConfigError`."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"where={text}: is no condition, expected a key, one of = != < <= > >=, and a value; write "
                "'where=val/iou>0.8'"
            )
        key, sign, value = match.groups()
        read = yaml.safe_load(value) if value else ""
        # 1e-4 is a text in YAML 1.1
        with suppress(ValueError):
            read = float(value) if isinstance(read, str) else read
        if sign in ("<", "<=", ">", ">=") and not isinstance(read, int | float):
            raise ConfigError(
                f"where={text}: {value!r} is no number, expected one after {sign}; or write {key}={value}"
            )
        return cls(key, "=" if sign == "==" else sign, read)

    def holds(self, run: Found) -> bool:
        """Tell whether a run meets it; one without the value meets only ``!=``."""
        value = run.value(self.key)
        if self.sign in ("=", "!="):
            return (value is not ABSENT and _same(value, self.value)) == (self.sign == "=")
        if not isinstance(value, int | float):
            return False
        compared = {"<": value < self.value, "<=": value <= self.value, ">": value > self.value}
        return bool(compared.get(self.sign, value >= self.value))


def find_runs(folder: Path) -> list[Found]:
    """Return all runs below a folder, by path; raises `ConfigError` where there is no such folder."""
    if not folder.is_dir():
        raise ConfigError(f"folder={folder}: no such folder, expected one with runs; write segtrain runs outputs")
    return [run for path in sorted(_run_folders(folder)) if (run := _read(path))]


def chosen(runs: Iterable[Found], conditions: Iterable[Condition]) -> list[Found]:
    """Return the runs that meet all conditions; raises `ConfigError` for a key that no run has."""
    found, wanted = list(runs), list(conditions)
    for condition in wanted:
        require_key(found, condition.key, "where")
    return [run for run in found if all(condition.holds(run) for condition in wanted)]


def require_key(runs: Iterable[Found], key: str, name: str) -> None:
    """Raise `ConfigError` for a key that no run has, with the nearest that some have."""
    found = list(runs)
    if found and all(run.value(key) is ABSENT for run in found):
        known = sorted({known for run in found for known in run.keys()})  # noqa: SIM118 - no mapping
        if key not in known:
            raise ConfigError(
                f"{name}: no run has {key!r}{did_you_mean(key, known, listed=0)}; a score is val/iou, say"
            )


def ranked(runs: Iterable[Found], key: str) -> list[Found]:
    """Return runs sorted by a key: scores from best to worst, other values upwards, those without it last."""
    split, slash, name = key.partition("/")
    is_least_first = name.endswith("loss") or not (slash and split)

    def place(run: Found) -> tuple[int, Any]:
        value = run.value(key)
        if value is ABSENT or value is None:
            return (2, 0)
        if isinstance(value, int | float):
            return (0, value if is_least_first else -value)
        return (1, str(value))

    return sorted(runs, key=place)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders with a config.yaml of a run; what lies in a run is not searched."""
    for path, names, files in os.walk(folder):
        if "config.yaml" in files:
            names.clear()
            yield Path(path)
        names[:] = [name for name in names if name not in _PASSED_OVER and not name.startswith(".")]


def _read(folder: Path) -> Found | None:
    try:
        config = yaml.load(read_text(folder / "config.yaml"), Loader=_Loader)
        scores = read_scores(folder)
    except (yaml.YAMLError, json.JSONDecodeError):
        return None
    if not isinstance(config, dict) or "trainer" not in config:  # another tool's
        return None
    status = read_status(folder)
    return Found(folder, with_current_names(config), status, _state(folder, status), scores)


def _state(folder: Path, status: Status | None) -> str:
    if is_locked(folder):
        return "running"
    if status is not None:
        return status.state
    log = folder / "train.log"  # earlier versions write no status
    lines = read_text(log).rstrip().splitlines()[-1:] if log.is_file() else []
    return "finished" if lines and " done: " in lines[0] else "interrupted"


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return ABSENT
        tree = tree[part]
    return tree


def _word(key: str, value: Any) -> Any:
    """Return a group's choice as a word, by the name of its class; other values as they are."""
    if key in _GROUPS and isinstance(value, Mapping):
        return str(value.get("name") or str(value.get(TARGET, "")).rpartition(".")[2].lower())
    return value


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) or isinstance(wanted, str):
        return str(value).lower() == str(wanted).lower()
    return bool(value == wanted)


def _dotted(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{path}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{path}{key}.")
