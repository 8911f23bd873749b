"""What the command line hands to a command."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Arguments:
    """The words of a command line, sorted."""

    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    multirun: bool = False
    cfg: str | None = None


def show(text: str) -> None:
    """Write to standard output, ending with a line break."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
