"""Reading JSON files of annotation tools."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segtrain.errors import DataError


def read_json(path: Path, expected: str, *, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Read a JSON file; ``hook`` replaces each object as soon as it is read. Raises `DataError`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return json.load(file, object_hook=hook)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {expected}; restore it") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: no JSON ({reason}), expected {expected}; export it again") from None


def text_of(value: Any) -> str:
    """Return a value of a JSON file as a short text, for a message."""
    return json.dumps(value, ensure_ascii=False)[:60]
