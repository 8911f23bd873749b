"""The folders that commands write to."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from segtrain.errors import ConfigError

log = logging.getLogger(__name__)

_LOCK = ".lock"


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


def numbered(folder: Path) -> Iterator[Path]:
    """Yield the folder, and then those of its name with -2, -3 and so on."""
    yield folder
    for number in count(2):
        yield folder.with_name(f"{folder.name}-{number}")


class Lock:
    """Keeps a folder to this process; the system lets go of it when the process ends, however that comes about."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.held = True
        # a forked worker of the loader shares the lock, and may outlive a run that is killed
        os.register_at_fork(after_in_child=self._leave_to_parent)

    @classmethod
    def take(cls, folder: Path) -> "Lock | None":
        """Take a folder that is there; None where another process has it."""
        path = folder / _LOCK
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:
                log.debug("%s: a file system without locks", folder)
            if _is_still(path, descriptor):
                break
            os.close(descriptor)  # whoever had the folder removed the file meanwhile
        with suppress(OSError):  # a full disk; the words are only for people
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        return cls(path, descriptor)

    def release(self) -> None:
        """Let go of the folder, and leave no trace."""
        self.path.unlink(missing_ok=True)
        self.held = False
        os.close(self.descriptor)

    def _leave_to_parent(self) -> None:
        """Close a child's copy of the lock, which ends the child's share in it and no more."""
        if self.held:
            self.held = False
            os.close(self.descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def holder(folder: Path) -> str:
    """Say which process has a folder."""
    return (folder / _LOCK).read_text(encoding="utf-8") or "another process"
