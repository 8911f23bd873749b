"""Checkpoints in several files: each rank writes its shards by torch.distributed.checkpoint, and any process reads all.

A folder takes the place of the file. ``rest.pt`` in it holds all that is not shared out, and where the tensors belong;
it is written last, so that a folder without it is not a checkpoint.
"""

import copy
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from segtrain.errors import CheckpointError, ElsewhereError
from segtrain.storage import refusal

REST = "rest.pt"
PLACES, SUMS = "places", "sums"
_PIECE = 2**22  # bytes that are read at a time
_METADATA = ".metadata"
_KNOWN = frozenset(
    {
        *(
            ("torch.distributed.checkpoint.metadata", name)
            for name in (
                "ChunkStorageMetadata",
                "Metadata",
                "MetadataIndex",
                "StorageMeta",
                "TensorProperties",
                "TensorStorageMetadata",
                "_MEM_FORMAT_ENCODING",
            )
        ),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch.serialization", "_get_layout"),
        ("torch", "Size"),
        ("pathlib", "PosixPath"),
        ("pathlib", "WindowsPath"),
        ("pathlib._local", "PosixPath"),
        ("pathlib._local", "WindowsPath"),
    }
)
"""What the list of tensors is made of, besides dtypes: it is pickled, and could call anything."""


class Aside(NamedTuple):
    """A group of all ranks for what their threads say, whatever the ranks say meanwhile, and the mesh of their CPUs."""

    group: dist.ProcessGroup
    mesh: DeviceMesh

    @classmethod
    def of(cls, size: int) -> "Aside":
        """Make them; all ranks call it."""
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # as this rank belongs to it
        return cls(group, init_device_mesh("cpu", (size,)))


def is_folder(path: Path) -> bool:
    """Tell whether a path is a checkpoint in several files."""
    return (path / REST).is_file()


def is_checkpoint(path: Path) -> bool:
    """Tell whether there is a checkpoint, in one file or several."""
    return path.is_file() or is_folder(path)


def divide(payload: Mapping[str, Any], mesh: DeviceMesh) -> tuple[dict[str, DTensor], dict[str, Any]]:
    """Return copies of the tensors that are shared out, on the CPU, by name, and the rest with their ``places``.

    ``mesh`` is that of the ranks' CPUs.
    """
    tensors, places = dict[str, DTensor](), dict[str, list[Any]]()
    for place, tensor in _shared_out(payload, ()):
        name = ".".join(map(str, place))
        shape, stride = tensor.shape, tensor.stride()
        own = tensor.to_local().detach().to("cpu", copy=True)
        tensors[name] = DTensor.from_local(own, mesh, tensor.placements, run_check=False, shape=shape, stride=stride)
        places[name] = list(place)
    return tensors, {**_without(dict(payload)), PLACES: places}


def _shared_out(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], DTensor]]:
    if isinstance(value, DTensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _shared_out(item, (*place, key))


def _without(value: Any) -> Any:
    """Copy nested dicts without the tensors that are shared out."""
    if not isinstance(value, dict):
        return value
    made = copy.copy(value)  # of its own type: a module's state has a note of its version
    for key, item in value.items():
        if isinstance(item, DTensor):
            del made[key]
        else:
            made[key] = _without(item)
    return made


def write_shards(tensors: dict[str, DTensor], folder: Path, group: dist.ProcessGroup) -> dict[str, Any]:
    """Write this rank's shards into a folder, and flush them to disk; returns when all ranks of a group have.

    What is returned belongs into the rest: checksums of all files. Raises `CheckpointError` where one cannot write,
    said by the first rank.
    """
    try:
        save(tensors, storage_writer=FileSystemWriter(folder, sync_files=True), process_group=group)
    except CheckpointException as error:  # of any rank, on all of them
        causes = [failure[0] for failure in error.failures.values()]
        found = next(filter(None, map(refusal, causes)), None)
        if found is None:
            raise RuntimeError(str(error)) from causes[0]
        problem = CheckpointError(
            f"{folder}: cannot be written ({found.strerror}); free space or choose hydra.run.dir=..."
        )
        raise (problem if dist.get_rank(group) == 0 else ElsewhereError(problem.exit_code)) from None
    own = {file.name: _checksum(file) for file in folder.glob(f"__{dist.get_rank(group)}_*")}
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, own, group=group)
    return {SUMS: {name: checksum for sums in gathered for name, checksum in sums.items()}}


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            checksum = crc32(piece, checksum)
    return checksum


def with_shards(rest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content of a checkpoint in several files from that of its ``rest.pt``, all tensors whole.

    Raises `CheckpointError` for a file that is missing, truncated or damaged.
    """
    for name, checksum in rest[SUMS].items():  # torch reads tensors whose bytes have changed
        if not (folder / name).is_file() or _checksum(folder / name) != checksum:
            what = "is damaged" if (folder / name).is_file() else "is missing"
            raise CheckpointError(f"{folder / name}: {what}, expected it as it was written; use another of the run")
    reader = _Reader(folder)
    try:
        metadata = reader.read_metadata()
        tensors = _read_tensors(reader, metadata)
    except Exception as error:  # damaged files can raise anything
        raise CheckpointError(f"{folder}: is damaged ({_first_line(error)}), expected whole files in it") from None
    payload = {key: value for key, value in rest.items() if key not in (PLACES, SUMS)}
    for name, place in rest[PLACES].items():
        *above, last = place
        node = payload
        for key in above:
            node = node[key]
        node[last] = tensors[name]
    return payload


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


def _read_tensors(reader: FileSystemReader, metadata: Metadata) -> dict[str, Tensor]:
    """Read all tensors without other ranks, also where there are some: each calls it when it comes to it."""
    # by the steps of torch's protocol: its own functions would wait for all ranks (2.6)
    tensors: dict[str, Any] = {
        name: torch.empty(held.size, dtype=held.properties.dtype)
        for name, held in metadata.state_dict_metadata.items()
        if isinstance(held, TensorStorageMetadata)
    }
    planner = DefaultLoadPlanner()
    planner.set_up_planner(tensors, metadata, is_coordinator=True)
    reader.set_up_storage_reader(metadata, is_coordinator=True)
    plan = reader.prepare_local_plan(planner.create_local_plan())
    (plan,) = reader.prepare_global_plan(planner.create_global_plan([plan]))
    reader.read_data(planner.finish_plan(plan), planner).wait()
    return tensors


class _Reader(FileSystemReader):
    """Reads without running code that someone has put into the list of tensors."""

    def read_metadata(self, *_args: Any, **_kwargs: Any) -> Metadata:
        """Read the list of tensors; raises `UnpicklingError` where it holds anything else."""
        with (Path(self.path) / _METADATA).open("rb") as file:
            found: Metadata = _Unpickler(file).load()
        return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which could run any code")
        return super().find_class(module, name)
