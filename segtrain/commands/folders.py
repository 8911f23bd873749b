"""The folders that commands write to."""

import os
from pathlib import Path

from segtrain.errors import ConfigError


def make_folder(folder: Path, *, key: str) -> list[Path]:
    """Create a folder and return what was not there before, the innermost first.

    Raises ConfigError, naming the key that chose the folder, where nothing can be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "no permission"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise ConfigError(f"{key}={folder}: cannot be written ({reason}), expected a folder; choose another {key}=...")
    return made
