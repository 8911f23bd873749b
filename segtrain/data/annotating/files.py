"""What all writers of annotations share: which images they hold, and that earlier ones stay when more are added."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from segtrain.data.annotating.regions import Region
from segtrain.data.files.inputs import Input
from segtrain.data.palette import Colour
from segtrain.errors import DataError
from segtrain.storage import read_text, write_text

Size: TypeAlias = tuple[int, int]


class Writer(Protocol):
    """Writes the annotations of images in the format of a tool."""

    def has(self, image: Input) -> bool:
        """Tell whether an image has annotations in the files of an earlier call."""

    def add(self, image: Input, size: Size, regions: Sequence[Region]) -> None:
        """Add an image file of that ``(H, W)``, with its regions."""

    def close(self) -> None:
        """Write what is not written yet."""


MakeWriter: TypeAlias = Callable[[Path, Sequence[str], Sequence[Colour]], Writer]
"""Takes the folder to write to, the names of the classes that regions are made of, and the colours of these."""


def read_earlier(file: Path) -> dict[str, Any] | None:
    """Read the JSON that an earlier call wrote; None without one. Raises `DataError` for something else."""
    if not file.exists():
        return None
    try:
        found = json.loads(read_text(file))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{file}: is not what predict writes, expected JSON to add to; remove it, or redo=true")
    return found


def write_json(file: Path, content: Any) -> None:
    """Write JSON, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(content, ensure_ascii=False, separators=(",", ":")))
