"""Where and how the arithmetic runs: device, precision, memory layout."""

import ctypes
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from segtrain.config.schema import Precision
from segtrain.errors import ConfigError
from segtrain.models.depthwise import tile_depthwise

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
