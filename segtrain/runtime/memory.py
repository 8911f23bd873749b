"""Memory that runs out: telling it from other errors, and giving back what a failed attempt held."""

import gc

import torch

_SIGNS = (
    "out of memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "STATUS_ALLOC_FAILED",
)  # in errors that have no class of their own


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device, or the machine, has not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def in_short(error: BaseException) -> str:
    """Return the beginning of an error's text, in one line."""
    return " ".join(str(error).split())[:120]


def release(device: torch.device) -> None:
    """Give back what a failed attempt has left behind."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
