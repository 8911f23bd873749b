"""Where and how the arithmetic runs: device, precision, memory layout, random numbers, signals."""

import ctypes
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from segtrain.config.schema import Precision
from segtrain.errors import ConfigError
from segtrain.models.depthwise import tile_depthwise

_STDERR = 2
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """The device, the arithmetic and the memory layout of a run."""

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool = True

    @property
    def device_name(self) -> str:
        """What to call the device: a GPU by its product, a CPU by its threads."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        threads = torch.get_num_threads()
        return f"{self.device}" + (f" ({threads} threads)" if self.device.type == "cpu" else "")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, model: nn.Module) -> None:
        """Move a model to the device, in place, and lay it out for this runtime."""
        if self.device.type == "cpu" and self.precision == "bf16":
            tile_depthwise(model)
        model.to(self.device).to(memory_format=self.memory_format)

    def images(self, images: Tensor) -> Tensor:
        """Copy a batch of images ``(N, C, H, W)`` to the device, its type unchanged."""
        return images.to(self.device, non_blocking=True, memory_format=self.memory_format)

    def masks(self, masks: Tensor) -> Tensor:
        """Copy a batch of masks to the device and widen them there to int64."""
        return masks.to(self.device, non_blocking=True).long()

    def labels(self, labels: Tensor | None) -> Tensor | None:
        """Copy the labels of a batch's images, where there are any, to the device."""
        return None if labels is None else labels.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the model's forward pass runs."""
        dtype = _HALF.get(self.precision, torch.float32)
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision in _HALF)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Return the loss scaler: a pass-through unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def make_runtime(device: str, precision: Precision, *, channels_last: bool = True) -> Runtime:
    """Choose the device and the precision; raises ConfigError for what this machine does not have."""
    found = _device(device)
    return Runtime(device=found, precision=_precision(precision, found), channels_last=channels_last)


def _device(name: str) -> torch.device:
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: expected auto, cpu, cuda, cuda:<n> or mps, got {name!r}") from None
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False):
        raise ConfigError(f"device={name}: this machine has no such device; use device=auto or device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
    return device


def _precision(name: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and _cpu_computes_bf16():
        return "bf16"
    return "fp32"


def _cpu_computes_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks instead of handing them back to the system.

    A training step frees and allocates the same large activations again and again; by default each round trip
    through ``mmap`` and ``munmap`` costs page faults. Does nothing where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Capture the generators of Python, NumPy and torch as what a checkpoint may hold: numbers, lists and tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, spare = random.getstate()
    return {
        "python": [version, list(words), spare],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put the generators back to a captured state."""
    version, words, spare = state["python"]
    random.setstate((version, tuple(words), spare))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


class StopRequest:
    """Remembers a SIGINT or SIGTERM, so that the loop can finish its step and save; a second one stops at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catch the two signals while the context is open."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._remember) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number
        # Not by logging: the signal may have come in the midst of a line of it, and buffers take no call within a call.
        said = f"{signal.Signals(number).name}: finishing the step, then saving (once more to stop at once)\n"
        with suppress(OSError):  # nobody listens
            os.write(_STDERR, said.encode())
