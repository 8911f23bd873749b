"""A cache of decoded and resized samples in a file, which runs, ranks and workers share."""

import hashlib
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from segtrain.data.files.memory import cache_folder
from segtrain.data.loading.cache import MIB, Cache
from segtrain.data.sample import RawSample

log = logging.getLogger(__name__)

_FORMAT = 1  # part of a file's name: raise it when the layout or the resizing changes
_SUFFIX = ".samples"
_FILES = 2  # that a budget is for: training and validation samples


class DiskCache(Cache):
    """A cache in one memory-mapped file of the user's cache folder, named by ``key``: what samples depend on.

    All processes of a machine that name the same key share it, at once or one after another. A sample
    that a killed process or a crashed system left unfinished does not have its checksum, and is
    decoded again; it is compared once in each process. Disk space is taken up at once, so that a full
    disk shows here, as OSError, and not as a signal in the middle of a write.
    """

    def __init__(self, example: RawSample, length: int, budget_mb: int, key: str) -> None:
        shapes = f"{example.image.shape} {example.image.dtype} {example.mask.shape}"
        name = hashlib.sha256(f"{_FORMAT} {key} {shapes} {length} {budget_mb}".encode()).hexdigest()
        self.path = cache_folder("samples") / f"{name[:32]}{_SUFFIX}"
        self._budget = budget_mb * MIB
        super().__init__(example, length, budget_mb)

    def _map(self) -> mmap.mmap:
        self._compared = np.zeros(self.capacity, bool)  # in this process
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_complete():
            self.path.unlink(missing_ok=True)  # cut off by somebody else: it is linked at its full size
            _remove_oldest(self.path, beyond=_FILES * self._budget - self.nbytes)
            _make(self.path, self.nbytes)
        with self.path.open("r+b") as file:
            os.utime(self.path)  # what was used last is kept longest
            return mmap.mmap(file.fileno(), self.nbytes)

    def _is_complete(self) -> bool:
        with suppress(OSError):
            return self.path.stat().st_size == self.nbytes
        return False

    def _mark(self, index: int) -> int:
        return self._checksum(index)

    def _is_sound(self, index: int) -> bool:
        if not self._compared[index]:
            self._compared[index] = int(self._marks[index]) == self._checksum(index)
        return bool(self._compared[index])


def _make(path: Path, size: int) -> None:
    """Make a file of zeros under a name of its own, then link it: of two processes, one is first and both use that."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            _reserve(file.fileno(), size)
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS: zeros are written
        for start in range(0, size, MIB):
            os.write(descriptor, bytes(min(MIB, size - start)))


def _remove_oldest(path: Path, *, beyond: int) -> None:
    """Remove the cached files that were not used for longest, until the rest takes no more than ``beyond`` bytes."""
    total = 0
    for _, size, file in sorted(_others(path), reverse=True):  # the latest first
        total += size
        if total > beyond:
            file.unlink(missing_ok=True)  # a process that has it mapped keeps its content
            log.info("%s: removed, as cached samples take more than data.cache_mb", file)


def _others(path: Path) -> Iterator[tuple[int, int, Path]]:
    for file in path.parent.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            status = file.stat()
            if file != path:
                yield status.st_mtime_ns, status.st_size, file


def open_disk_cache(example: RawSample, length: int, budget_mb: int, key: str | None) -> Cache | None:
    """Open the cached samples of a key on disk; None, with a warning, where that cannot be.

    Without a key, samples may change unseen: they are cached in memory instead.
    """
    if key is None:
        log.warning("data.cache: disk, but this data does not tell when a file changes; samples are cached in memory")
        return Cache(example, length, budget_mb)
    try:
        return DiskCache(example, length, budget_mb, key)
    except (OSError, RuntimeError) as error:
        log.warning(
            "data.cache: %d MiB cannot be taken on disk (%s), so nothing is cached; free space, set a smaller "
            "data.cache_mb, or data.cache=ram",
            *(budget_mb, getattr(error, "strerror", None) or error),
        )
        return None
