"""Device, precision (mixed or not) and memory layout of a run."""

import ctypes
import logging
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from segtrain.config.schema import Precision
from segtrain.errors import ConfigError
from segtrain.models.depthwise import tile_depthwise
from segtrain.models.group_norm import quicken_group_norm
from segtrain.models.squeeze_excitation import share_means
from segtrain.runtime.world import ALONE, World

log = logging.getLogger(__name__)

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precisions that autocast is on for


@dataclass(frozen=True)
class Runtime:
    """The device, precision and memory format of a run, and how tensors and models get there."""

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool = True

    @property
    def device_name(self) -> str:
        """The device for messages: a GPU with its product name, a CPU with its number of threads."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        threads = torch.get_num_threads()
        return f"{self.device}" + (f" ({threads} threads)" if self.device.type == "cpu" else "")

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, model: nn.Module) -> None:
        """Move a model to the device and memory format, in place; what is slow there is computed otherwise."""
        if self.device.type == "cpu":
            share_means(model)
        if self.device.type == "cpu" and self.precision == "bf16":
            tile_depthwise(model)
            quicken_group_norm(model)
        model.to(self.device).to(memory_format=self.memory_format)

    def images(self, images: Tensor) -> Tensor:
        """Copy a batch of images ``(N, C, H, W)`` to the device, its dtype unchanged."""
        # non_blocking overlaps the copy with the step before, if the loader pins memory
        return images.to(self.device, non_blocking=True, memory_format=self.memory_format)

    def masks(self, masks: Tensor) -> Tensor:
        """Copy a batch of masks ``(N, H, W)`` or ``(N, C, H, W)`` to the device, as int64."""
        return masks.to(self.device, non_blocking=True).long()  # cast there: uint8 is an eighth of the copy

    def labels(self, labels: Tensor | None) -> Tensor | None:
        """Copy labels of whole images ``(N,)`` to the device; None stays None."""
        return None if labels is None else labels.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the model's forward pass runs."""
        dtype = _HALF.get(self.precision, torch.float32)
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision in _HALF)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Return the gradient scaler: a no-op unless the precision is fp16, whose gradients underflow."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def make_runtime(device: str, precision: Precision, *, channels_last: bool = True, world: World = ALONE) -> Runtime:
    """Choose device and precision; each rank of ``world`` gets a GPU of its own.

    Raises `ConfigError` for a device that this machine does not have.
    """
    found = _device(device)
    if found.type == "cuda" and not world.is_alone:
        if world.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"device={device}: {torch.cuda.device_count()} GPUs for {world.local_rank + 1} processes or more on "
                "this machine; start one for each GPU, or set device=cpu"
            )
        found = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(found)
    if found.type == "mps" and channels_last:
        log.info("trainer.channels_last: left out on mps, where pooling in that layout has wrong gradients")
        channels_last = False
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
        # emulated bf16, before Ampere, is slower than fp16
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and _cpu_computes_bf16():
        return "bf16"
    return "fp32"


def _cpu_computes_bf16() -> bool:
    # elsewhere torch emulates bf16, slower than fp32; there is no public name for these yet
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def keep_freed_memory(*, sparing: bool = False) -> None:
    """Make glibc keep freed memory instead of returning it to the system.

    Every training step frees and allocates the same large activations; by default each allocation is
    an ``mmap`` with its page faults. Does nothing with other C libraries.

    ``sparing`` is for who would rather wait than need more (activation checkpointing): each large block is mapped by
    itself and returned as soon as it is free. The heap otherwise gets holes that no later block fits into.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX in malloc.h
    if sparing:
        mallopt(mmap_max, 2**16)  # glibc's own
        mallopt(mmap_threshold, 2**20)  # once set, it no longer rises with each block that is freed
        mallopt(trim_threshold, 2**17)  # glibc's own
    else:
        mallopt(mmap_max, 0)  # large blocks from the heap too, not from mmap
        mallopt(trim_threshold, 2**31 - 1)  # the greatest int: never give the top of the heap back
