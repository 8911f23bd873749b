"""Costs and speed of a model: parameters and MACs counted, latency, throughput and memory measured by backend."""

import copy
import ctypes
import gc
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segtrain.build.exporting import trace, write_onnx
from segtrain.config.schema_shipping import Backend
from segtrain.errors import ConfigError, SegtrainError
from segtrain.inference.exportable import Exportable
from segtrain.inference.exported_network import Computed, ExportedNetwork
from segtrain.inference.latency import Latency, in_turns
from segtrain.inference.network import Network
from segtrain.models import Segmenter
from segtrain.models.compiling import FAULTS
from segtrain.run import portable
from segtrain.runtime.device import Runtime
from segtrain.runtime.memory import in_short, is_out_of_memory, release
from segtrain.task import Task

log = logging.getLogger(__name__)

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_WORKING_SET = "5"  # what resets the peak of resident memory, since Linux 4.0


@dataclass(frozen=True)
class Row:
    """One measurement: images ``(batch, C, height, width)``; ``peak`` are bytes, None where they cannot be read."""

    backend: Backend
    batch: int
    height: int
    width: int
    latency: Latency
    peak: int | None

    @property
    def images_per_second(self) -> float:
        """Throughput by the median."""
        return self.batch / self.latency.median


@dataclass(frozen=True)
class Subject:
    """What is measured: a network, and its model as it is exported, on the CPU; None for a file, which has none.

    ``pixels`` is the dtype of its images; ``name`` is what errors call it.
    """

    model: Segmenter | None
    network: Network
    task: Task
    channels: int
    pixels: str
    payload: Mapping[str, Any]
    name: str

    @property
    def runtime(self) -> Runtime:
        """The device and precision."""
        return self.network.runtime


def count_parameters(model: torch.nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: Segmenter, size: Sequence[int]) -> int:
    """Count the multiply-accumulates of a forward pass on one image of ``(H, W)``, on the meta device."""
    ghost = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, model.in_channels, *size, device="meta"))
    return int(counter.get_total_flops()) // 2  # it counts a multiply-accumulate as two operations


def measure(
    subject: Subject,
    backends: Sequence[Backend],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    *,
    seconds: float,
    warmup: float,
) -> Iterator[Row]:
    """Measure every backend at every size and batch, for about ``seconds`` each; logs why one cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        for backend, size in product(backends, sizes):
            try:
                run = _opened(subject, backend, size, Path(folder))
            except SegtrainError as error:
                log.warning("%s at %dx%d: %s", backend, *size, error)
                continue
            rows = (_measured(subject, backend, run, each, size, seconds=seconds, warmup=warmup) for each in batches)
            yield from (row for row in rows if row is not None)


def _measured(
    subject: Subject,
    backend: Backend,
    run: Callable[[Tensor], object],
    batch: int,
    size: tuple[int, int],
    *,
    seconds: float,
    warmup: float,
) -> Row | None:
    """Measure one variant; None where it cannot run, which is logged."""
    device = subject.runtime.device
    pixels = torch.zeros(batch, subject.channels, *size, dtype=getattr(torch, subject.pixels))
    reset_peak(device)
    try:
        with torch.inference_mode():
            taken = in_turns({backend: lambda: run(pixels)}, seconds=seconds, device=device, warmup=warmup)
    except (SegtrainError, RuntimeError, MemoryError, *FAULTS) as error:
        ours = isinstance(error, (SegtrainError, *FAULTS))
        if not (ours or is_out_of_memory(error)):
            raise
        log.warning("%s, batch %d at %dx%d: cannot run (%s)", backend, batch, *size, in_short(error))
        release(device)
        return None
    # torch does not see what onnxruntime takes on a GPU
    peak = None if backend == "onnx" and device.type == "cuda" else read_peak(device)
    return Row(backend, batch, *size, taken[backend], peak)


def _opened(subject: Subject, backend: Backend, size: tuple[int, int], folder: Path) -> Callable[[Tensor], object]:
    """Return what runs a backend; raises `SegtrainError` where it cannot be made."""
    if subject.model is None:
        assert isinstance(subject.network, ExportedNetwork)
        if backend != subject.network.engine.backend:
            raise ConfigError(
                "the file holds no weights to run otherwise; give the checkpoint that it was exported from"
            )
        return subject.network
    if backend == "torch":
        return subject.network
    if backend == "compiled":
        torch.compiler.reset()
        module = torch.compile(subject.network.model, dynamic=False)
        return Network(subject.network.model, subject.runtime, module=module)  # type: ignore[arg-type]
    return _exported(subject, subject.model, size, folder)


def _exported(subject: Subject, model: Segmenter, size: tuple[int, int], folder: Path) -> Callable[[Tensor], object]:
    """Export a model for batches of one size, and open the file."""
    file = folder / f"{size[0]}x{size[1]}.onnx"
    computed = Computed(gives="logits", shapes="batch", fits=False, pixels=subject.pixels, size=list(size))
    example = torch.zeros(2, subject.channels, *size, dtype=getattr(torch, subject.pixels))
    module = Exportable(model, subject.task).eval()
    program = trace(module, example, "batch", name=subject.name)
    names = ["logits", *(["image_logits"] if model.image_classes else [])]
    write_onnx(program, file, portable.describe(subject.payload), computed, names)
    network = ExportedNetwork(file, subject.payload, computed, subject.runtime)
    if network.runtime.device.type != subject.runtime.device.type:
        raise ConfigError(f"onnxruntime has no provider for {subject.runtime.device} here; pip install onnxruntime-gpu")
    return network


def reset_peak(device: torch.device) -> None:
    """Begin to measure the peak of memory anew."""
    release(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        if sys.platform.startswith("linux"):
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
            _RESET.write_text(_WORKING_SET, encoding="ascii")
    gc.collect()


def read_peak(device: torch.device) -> int | None:
    """Return the bytes that were in use at most: of torch on a GPU, of the whole process elsewhere; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
