"""What the command line hands to a command."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrain.errors import ConfigError


@dataclass(frozen=True)
class Arguments:
    """The words of a command line, sorted."""

    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    multirun: bool = False
    cfg: str | None = None


def name_words(words: Sequence[str], keys: Sequence[str], example: str) -> list[str]:
    """Give the words that are no ``key=value``, or name what exists, those keys that have none yet, in order.

    Raises ConfigError, with the example to write, unless there are as many; words are as they are without any.
    """
    places = [word for word in words if "=" not in word or Path(word).exists()]
    if not places:
        return list(words)
    options = [word for word in words if word not in places]
    free = [key for key in keys if not any(option.startswith(f"{key}=") for option in options)]
    if len(places) != len(free):
        raise ConfigError(f"got {', '.join(places)} for {' and '.join(free)}; write {example}")
    quoted = ["'" + place.replace("'", r"\'") + "'" for place in places]
    return [*(f"{key}={place}" for key, place in zip(free, quoted, strict=True)), *options]


def show(text: str) -> None:
    """Write to standard output, ending with a line break."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
