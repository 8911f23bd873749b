"""Creating, numbering and locking the folders that commands write to."""

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

FRESH = "next.pt"
"""A checkpoint until it takes its place: a run that is killed just then may leave it behind, and go on without it."""
_LOCK = ".lock"


def make_folder(folder: Path, *, key: str) -> list[Path]:
    """Create a folder; returns it and its parents as far as they are new, the innermost first.

    Raises `ConfigError`, naming the key that chose the folder, where it cannot be written.
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
    """Yield the folder, then its name with -2, -3 and so on, without end."""
    yield folder
    for number in count(2):
        yield folder.with_name(f"{folder.name}-{number}")


class Lock:
    """A file lock on a folder; the system releases it when the process ends, even if it is killed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.held = True
        # forked workers of the loader inherit the lock, and may outlive a run that is killed
        os.register_at_fork(after_in_child=self._leave_to_parent)

    @classmethod
    def take(cls, folder: Path) -> "Lock | None":
        """Lock an existing folder; None where another process holds it."""
        path = folder / _LOCK
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:  # as on some network drives: better to run unlocked than not at all
                log.debug("%s: a file system without locks", folder)
            if _is_still(path, descriptor):
                break
            os.close(descriptor)  # the former holder removed the file: a lock on it would protect nothing
        with suppress(OSError):  # a full disk; the text is only for messages
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        return cls(path, descriptor)

    def release(self) -> None:
        """Release the lock, and remove its file."""
        with suppress(OSError):  # the folder is read-only by now, or gone
            self.path.unlink()  # while it is still held, or another process's file could go
        self.held = False
        os.close(self.descriptor)

    def _leave_to_parent(self) -> None:
        """Close a forked child's descriptor of the lock; the parent's lock stays."""
        if self.held:
            self.held = False
            os.close(self.descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def is_locked(folder: Path) -> bool:
    """Tell whether a process holds the lock of a folder; nothing is written there."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:  # no file, or no permission to know
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def holder(folder: Path) -> str:
    """Describe the process that holds the lock of a folder."""
    return (folder / _LOCK).read_text(encoding="utf-8") or "another process"
