"""The space of a search: for each key a list of choices, or a range such as ``1e-4..1e-2 log``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import yaml

from segtrain.config.words import quote
from segtrain.errors import ConfigError
from segtrain.storage import read_text

Value: TypeAlias = str | int | float | bool | None
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+(log)|\s+step\s+({_NUMBER}))?\s*")
_FORM = "expected a list of choices, [fpn, unet], or a range: 1e-4..1e-2 log, 0.1..0.9, 4..32 step 4"


class Trial(Protocol):
    """What a range or a list asks for a value: a trial of Optuna's."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        """Return a number of an interval, both ends included."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Return a whole number of an interval, both ends included."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of several values."""


@dataclass(frozen=True)
class Choices:
    """Some values, in no order."""

    values: tuple[Value, ...]

    def suggest(self, trial: Trial, key: str) -> Value:
        """Ask a trial for one."""
        value: Value = trial.suggest_categorical(key, self.values)
        return value

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values whose correctness shows that all are right: each of them."""
        return self.values


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``, whole ones if both are; ``log``: each tenfold as likely as another."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial, key: str) -> Value:
        """Ask a trial for a number."""
        if self.is_whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values whose correctness shows that all are right."""
        return (self.low, self.high)


Space: TypeAlias = dict[str, Choices | Interval]


def word(key: str, value: Value) -> str:
    """Write a value of a key as an override."""
    if value is None or isinstance(value, bool):
        return f"{key}={'null' if value is None else str(value).lower()}"
    return f"{key}={quote(value) if isinstance(value, str) else repr(value)}"


def read_space(given: Mapping[str, Any] | str) -> Space:
    """Read a space, or the YAML file that holds it; raises `ConfigError` with a line for each mistake."""
    where, content = "space", given
    if isinstance(given, str):
        file = Path(given).expanduser()
        if not file.is_file():
            raise ConfigError(
                f"space={given}: no such file, expected YAML, or a mapping; write "
                "'space={optimizer.lr: 1e-4..1e-2 log, arch: [fpn, unet]}'"
            )
        try:
            where, content = str(file), yaml.safe_load(read_text(file))
        except yaml.YAMLError as error:
            raise ConfigError(f"{file}: not YAML ({' '.join(str(error).split())}); fix the file") from None
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{where}: holds {content!r}, expected a mapping of keys of the config; {_FORM}")
    problems, space = [], {}
    for key, value in content.items():
        found = _parameter(value)
        if isinstance(found, str):
            problems.append(f"{where}: {key}: {found}")
        else:
            space[str(key)] = found
    if problems:
        raise ConfigError("\n".join(problems))
    return space


def _parameter(value: Any) -> Choices | Interval | str:
    """Return what a value describes, or what is wrong with it."""
    if isinstance(value, list):
        return _choices(value)
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return f"{value!r}: {_FORM}"
    low, high, log, step = (_number(text) for text in match.groups())
    if not low < high:
        return f"{value}: expected the lower end first; write {high:g}..{low:g}"
    if log and low <= 0:
        return f"{value}: log is for ranges above 0; leave log out, or begin above 0"
    if step is not None and not 0 < step <= high - low:
        return f"{value}: expected a step above 0 and within the range"
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, float):
        return f"{value}: expected whole numbers as step; write {low}.0..{high}.0 step {step:g}"
    return Interval(low, high, log=bool(log), step=step)


def _choices(values: list[Any]) -> Choices | str:
    if len(values) == 3 and values[2] in ("log", "uniform", "int") and not isinstance(values[0], str):
        return f"{values}: is a list of choices; a range is {values[0]:g}..{values[1]:g} log"
    strange = next((value for value in values if not isinstance(value, str | int | float | None)), None)
    if strange is not None:
        return f"{strange!r}: expected texts and numbers as choices; give it a name in a YAML file of a group"
    if len(values) < 2 or len(set(map(repr, values))) < len(values):
        return f"{values}: expected two choices or more, each once"
    return Choices(tuple(values))


def _number(text: str | None) -> Any:
    if text is None or text == "log":
        return text
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
