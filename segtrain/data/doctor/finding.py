"""What a check found: plain objects, the same before training and in `segtrain check`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from segtrain.errors import DataError

Level: TypeAlias = Literal["fatal", "warning", "note"]
LEVELS: tuple[Level, ...] = ("fatal", "warning", "note")
SKIP = "data.on_bad=skip"
MOST = 8  # problems, or files of one, to show
_OVERRIDE = re.compile(r"'(data\.\w+=[^']+)'|(data\.\w+=(?:\[[^\]]*\]|[^\s;,')]+))")


@dataclass(frozen=True)
class Finding:
    """One problem of one or many files.

    Training does not start on a ``fatal`` one. ``text`` says what was found and expected, ``remedy``
    what to do, ``count`` how many files are so. ``kind`` is the name of the check, for machines and
    to sort by. ``error`` is what to raise where this is the only finding, if that has a type of its own.
    """

    level: Level
    kind: str
    files: tuple[Path, ...]
    text: str
    remedy: str = ""
    count: str = ""
    error: DataError | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_error(cls, error: DataError, *files: Path, level: Level = "fatal") -> "Finding":
        """Turn an error on a file, ``<file>: <text>; <remedy>``, into a finding."""
        message = str(error)
        if files:
            message = message.removeprefix(f"{files[0]}: ")
        text, _, remedy = message.rpartition("; ")
        return cls(level, error.kind, files, text or remedy, remedy if text else "", error=error)

    def or_left_out(self) -> "Finding":
        """Say of a damaged file that its sample can be left out; return other findings as they are."""
        if self.level != "fatal" or self.kind != DataError.KIND or SKIP in self.remedy:
            return self
        return replace(self, remedy=f"{self.remedy}, or leave it out with {SKIP}".removeprefix(", or "), error=None)

    @property
    def line(self) -> str | None:
        """The words of a command line that repair it, as the remedy has them.

        None unless there is one choice, with nothing left to fill in and no mere example.
        """
        found = [match[0] for match in _OVERRIDE.finditer(self.remedy)]
        keys = {word.strip("'").partition("=")[0] for word in found}
        is_choice = " if " in self.remedy or len(keys) < len(found)
        is_open = "name yours" in self.remedy or any(sign in word for word in found for sign in ("?", "...", "<"))
        return None if is_choice or is_open or not found else " ".join(found)

    def __str__(self) -> str:
        """Write it in one line: ``<file>: <text>; <remedy> <count>``."""
        where = f"{self.files[0]}: " if self.files else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}{self.text}{remedy}{f' {self.count}' if self.count else ''}"


def first_few(problems: Sequence[str]) -> list[str]:
    """Keep the first `MOST` problems, and count the rest in one more line."""
    rest = len(problems) - MOST
    return [*problems[:MOST], *([f"and {rest} more files with problems"] if rest > 0 else [])]
