"""Checkpoints, in one file or in a folder of several: written atomically, and read without running code from them."""

import logging
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from segtrain.config.renamed import with_current_names
from segtrain.config.signature import TARGET, locate
from segtrain.errors import CheckpointError, ConfigError
from segtrain.run import portable, sharded
from segtrain.run.background import Background, snapshot
from segtrain.run.folders import FRESH
from segtrain.runtime.shards import whole
from segtrain.runtime.world import ALONE, World
from segtrain.storage import refusal, taken_whole

log = logging.getLogger(__name__)

FORMAT = 1
TRUSTED = ("segtrain.", "torch.optim.", "torch.nn.", "albumentations.")
_NEEDED = {
    "format": int,
    "model": Mapping,
    "config": Mapping,
    "class_names": list,
    "mode": str,
    "palette": list,
    "normalize": Mapping,
    "state": Mapping,
}
_ZIP = b"PK"  # first bytes of files that torch.save writes
_EXPECTED = "expected a checkpoint or a run folder of segtrain; give outputs/<name>/<time>"


def write(payload: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically and flush it to disk: after a crash, the old or the new file is whole.

    Raises `CheckpointError` where it cannot be written.
    """
    try:
        with taken_whole(path) as partial, partial.open("wb") as file:
            torch.save(dict(payload), file)
            file.flush()
            os.fsync(file.fileno())  # before the rename, which may reach the disk first otherwise
            if path.is_dir():  # a checkpoint in several files, which no rename replaces
                discard(path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a full disk
        found = error if isinstance(error, OSError) else refusal(error)
        if found is None:
            raise
        raise CheckpointError(
            f"{path}: cannot be written ({found.strerror}); free space or choose hydra.run.dir=..."
        ) from found


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project onto the CPU; code in it is not run.

    Former names in its config are translated. Raises `CheckpointError` for a file that is missing,
    truncated, of another tool, or that holds pickled code. All tensors are whole. Weights that `segtrain export` wrote
    are read too; a graph has none.
    """
    if path.suffix == portable.SAFETENSORS:
        return portable.read_safetensors(path)
    if path.suffix in portable.GRAPHS and path.is_file():
        raise CheckpointError(
            f"{path}: is a graph, which segtrain predict and eval run, expected weights; give the checkpoint that it "
            "was exported from"
        )
    file = path / sharded.REST if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{path}: no such file, {_EXPECTED}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # of another tool's file, refused below
            payload = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint can raise anything
        raise CheckpointError(f"{file}: {_unreadable(file, error)}") from None
    held = payload if isinstance(payload, Mapping) else {}
    missing = [name for name, kind in _NEEDED.items() if not isinstance(held.get(name), kind)]
    if missing:
        raise CheckpointError(f"{path}: is not a checkpoint (it lacks {', '.join(missing)}), {_EXPECTED}")
    if payload["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has format {payload['format']}, expected {FORMAT}; use the segtrain that wrote it"
        )
    if path.is_dir():
        payload = sharded.with_shards(payload, path)
    return {**payload, "config": with_current_names(payload["config"])}


def _unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(len(_ZIP))
    if start and start != _ZIP:
        return f"is not a checkpoint, {_EXPECTED}"
    if isinstance(error, pickle.UnpicklingError):
        return f"holds pickled objects, which could run any code, {_EXPECTED}"
    return "is truncated or damaged, expected a whole file; use another of the run"


def check_targets(config: Any, path: Path, *, named_by_user: Sequence[str] = ()) -> None:
    """Raise `CheckpointError` for a ``_target_`` in a checkpoint's config outside of the trusted libraries.

    A config may name any function, such as ``os.system``. ``named_by_user`` are targets that the
    command line names itself.
    """
    for where, target in _targets(config, ""):
        if target in named_by_user:
            continue
        if not _is_trusted(target, where):
            remedy = f"if you trust it, name it: {where}.{TARGET}={target}, or --config-dir with the YAML that does"
            raise CheckpointError(
                f"{path}: {where}.{TARGET} is {target!r}, which is not one of {', '.join(TRUSTED)}; {remedy}"
            )


def _is_trusted(target: str, where: str) -> bool:
    if not target.startswith(TRUSTED):
        return False
    # the object's own module: segtrain.run.checkpoint.shutil.rmtree begins with a trusted name too
    with suppress(ConfigError):
        return f"{getattr(locate(target, where), '__module__', '')}.".startswith(TRUSTED)
    return False


def _targets(node: Any, path: str) -> Iterator[tuple[str, str]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in items:
        if key == TARGET:
            yield path, str(value)
        else:
            yield from _targets(value, f"{path}.{key}".lstrip("."))


def find(path: Path, *, best: bool) -> Path:
    """Return the checkpoint of a run folder, or a checkpoint itself; raises `CheckpointError` if there is none."""
    found = candidates(path, best=best)
    if not found:
        what = "holds no checkpoints/last.pt" if path.exists() else "no such file or folder"
        newest = max(path.glob("*/checkpoints/last.pt"), key=lambda file: file.stat().st_mtime, default=None)
        hint = f", such as {newest.parent.parent}, the newest there" if newest else ""
        raise CheckpointError(f"{path}: {what}, {_EXPECTED}{hint}")
    return found[0]


def candidates(path: Path, *, best: bool) -> list[Path]:
    """List the checkpoints of a run folder by preference; for a checkpoint, it alone."""
    if sharded.is_checkpoint(path):
        return [path]
    names = ("best.pt", "last.pt", "previous.pt") if best else ("last.pt", "previous.pt", "best.pt")
    files = [folder / name for folder in (path / "checkpoints", path) for name in names]
    files.append(path / portable.WEIGHTS)  # a folder that `segtrain export format=hub_folder` wrote
    return [file for file in files if sharded.is_checkpoint(file)]


def read_newest(path: Path) -> tuple[Path, dict[str, Any]]:
    """Read the newest readable checkpoint of a run folder, or a file; warns of those that are not.

    Raises `CheckpointError` where none can be read.
    """
    find(path, best=False)
    problems = []
    for file in candidates(path, best=False):
        try:
            payload = read(file)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            log.warning("%s; going on from %s instead", problem, file.name)
        return file, payload
    raise CheckpointError("\n".join(problems))


def run_folder(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint lies in, or None for a file elsewhere."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None


class Checkpoints:
    """The ``checkpoints/`` folder of a run: last, previous, best, and the k best epochs.

    With ``in_background`` a thread writes them, from a copy in the memory of the CPU; what it raises is raised by the
    next call here. The first rank of ``world`` writes one file each; with ``in_shards``, every rank writes its own of
    those tensors that are shared out, and the checkpoints are folders of the same names.
    """

    def __init__(
        self, folder: Path, *, in_background: bool = False, world: World = ALONE, in_shards: bool = False
    ) -> None:
        self.folder, self.world = folder, world
        self.aside = sharded.Aside.of(world.size) if in_shards else None
        self.background = Background() if in_background else None

    @property
    def last(self) -> Path:
        """The file that a resume prefers."""
        return self.folder / "last.pt"

    def save(self, payload: Mapping[str, Any], *, best: bool = False, epochs: Sequence[int] | None = None) -> None:
        """Write ``last.pt``, and keep the one before as ``previous.pt``.

        ``best`` also copies it to ``best.pt``. ``epochs`` are those (0-based) to keep in files of their
        own: a missing one is copied, files of others are removed. All ranks call it.
        """
        self.wait()  # before the copy: there is room for one
        fresh, is_first = self.folder / FRESH, self.world.is_first
        if self.aside is None:
            take = whole if self.background is None else snapshot
            work = partial(write, take(dict(payload), keep=is_first), fresh)
            if not is_first:
                return
        else:
            self.world.by_first(partial(discard, fresh))  # of a run that was killed, before any rank writes there
            shards, rest = sharded.divide(payload, self.aside.mesh)
            rest = snapshot(rest, keep=is_first)
            work = partial(self._write_shards, shards, rest, fresh, self.aside)
        work = partial(self._save, work, fresh, best, epochs)
        if self.background is None:
            work()
        else:
            self.background.begin(work)

    def check(self) -> None:
        """Raise what writing in the background has raised, if it has; does not wait."""
        if self.background is not None:
            self.background.check()

    def wait(self) -> None:
        """Wait until all is written; raises where that failed."""
        if self.background is not None:
            self.background.wait()

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Wait at the end of the block until all is written, and raise where that failed, also if the block raises."""
        try:
            yield
        finally:
            self.wait()

    def _write_shards(
        self, shards: dict[str, DTensor], rest: dict[str, Any], folder: Path, aside: sharded.Aside
    ) -> None:
        sums = sharded.write_shards(shards, folder, aside.group)
        if self.world.is_first:
            write({**rest, **sums}, folder / sharded.REST)

    def _save(self, work: Callable[[], None], fresh: Path, best: bool, epochs: Sequence[int] | None) -> None:
        try:
            work()
            if not self.world.is_first:
                return
            # copies before last.pt is replaced: a run killed in between resumes before them, and makes them again
            if best:
                _copy(fresh, self.folder / "best.pt")
            if epochs is not None:
                self._keep_epochs(fresh, epochs)
        except (OSError, CheckpointError):
            discard(fresh)  # a full disk needs its room
            raise
        if self.last.exists():
            _keep(self.last, self.folder / "previous.pt")
        _move(fresh, self.last)

    def _keep_epochs(self, fresh: Path, epochs: Sequence[int]) -> None:
        wanted = {self.folder / f"epoch{epoch + 1:04d}.pt" for epoch in epochs}
        present = set(self.folder.glob("epoch*.pt"))
        for path in wanted - present:
            _copy(fresh, path)
        for path in present - wanted:
            discard(path)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        copy = target.with_name(f".{target.name}.partial")
        discard(copy)
        shutil.copytree(source, copy)
        _move(copy, target)
        return
    if target.is_dir():  # written in shards until now
        discard(target)
    with taken_whole(target) as partial:
        shutil.copyfile(source, partial)


def _move(source: Path, target: Path) -> None:
    if source.is_dir() or target.is_dir():  # which no rename replaces
        discard(target)
    source.replace(target)


def _keep(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, so that it is never missing under its first; one that can have no two moves."""
    discard(target)
    try:
        target.hardlink_to(source)
    except OSError:  # a folder, or a file system without links
        source.replace(target)


def discard(path: Path) -> None:
    """Remove a checkpoint, in one file or several, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
