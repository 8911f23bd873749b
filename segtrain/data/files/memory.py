"""A cache of JSON values between runs, in the user's cache folder."""

import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def recall(kind: str, key: str) -> Any:
    """Return the value cached under that key, or None.

    It lies in ``segtrain/<kind>/`` below ``$XDG_CACHE_HOME``, or else ``~/.cache``.
    """
    try:
        return json.loads(_file(kind, key).read_bytes())
    except (OSError, ValueError, RuntimeError):  # a damaged entry counts as none: it is only a cache
        return None


def remember(kind: str, key: str, value: Any) -> None:
    """Cache a value of numbers, strings, lists and dicts, if the folder can be written.

    It is written under a temporary name, then renamed, so that concurrent readers find all or nothing.
    """
    try:
        file = _file(kind, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")  # in one folder: a rename is atomic there
        partial.write_text(json.dumps(value), encoding="utf-8")
        partial.replace(file)
    except (OSError, RuntimeError) as error:
        log.debug("%s: not kept: %s", kind, error)


def _file(kind: str, key: str) -> Path:
    return cache_folder(kind) / f"{key}.json"


def cache_folder(kind: str) -> Path:
    """Return the folder of what is cached; raises RuntimeError where the user has no home folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "segtrain" / kind
