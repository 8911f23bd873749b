"""Out of memory: batches are taken in smaller parts from then on, for the same step of the same images."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segtrain.data.sample import Batch
from segtrain.errors import ShortOfMemoryError
from segtrain.runtime.world import World

log = logging.getLogger(__name__)

_SIGNS = (
    "out of memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "STATUS_ALLOC_FAILED",
)  # in errors that have no class of their own
_LONELY = "Expected more than 1 value per channel"  # by parts of one image: where batches have one, none is begun with


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device, or the machine, has not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def telling_what_needs_less() -> Iterator[None]:
    """Raise `ShortOfMemoryError` for memory that ran out where no smaller parts help."""
    try:
        yield
    except (RuntimeError, MemoryError, ValueError) as error:
        if not is_out_of_memory(error) and _LONELY not in str(error):
            raise
        what = " ".join(str(error).split())[:120]
        raise ShortOfMemoryError(
            f"out of memory ({what}); set a smaller data.batch_size with trainer.grad_accum_steps, or data.image_size"
        ) from error


class Attempt:
    """One attempt at a step, which may run out of memory: on one rank of ``world``, and then all give it up.

    Without ``may_fail``, what torch raises is raised.
    """

    def __init__(self, world: World, *, may_fail: bool) -> None:
        self.world, self.may_fail = world, may_fail
        self.failed = False

    @contextmanager
    def noting(self, *, exchanges: bool = False) -> Iterator[None]:
        """Note that memory ran out in the block; raise where other ranks wait for what the block exchanges."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not (self.may_fail and is_out_of_memory(error)) or (exchanges and not self.world.is_alone):
                raise
            self.failed = True

    def failed_anywhere(self) -> bool:
        """Tell whether memory has run out on any rank."""
        (failed,) = self.world.most(int(self.failed))
        return bool(failed)


def in_parts(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into so many batches, as even as can be, or one for each image where there are fewer."""
    size = len(batch["image"])
    parts = min(parts, size)
    cuts = [size * number // parts for number in range(parts + 1)]
    return [_slice(batch, start, end) for start, end in pairwise(cuts)] if parts > 1 else [batch]


def _slice(batch: Batch, start: int, end: int) -> Batch:
    part = batch.copy()
    for key, value in batch.items():
        if isinstance(value, Tensor | list):  # the weight of a mixed batch is that of all of its images
            part[key] = value[start:end]  # type: ignore[literal-required]
    return part


def tell(model: nn.Module, largest: int, parts: int) -> None:
    """Log that batches, the largest of so many images, are taken in parts from now on."""
    normalised = any(isinstance(module, _BatchNorm) for module in model.modules())
    log.warning(
        "out of memory: each batch of %d is taken in %d parts from this step on; steps have the same images%s",
        largest,
        parts,
        f", but batch normalisation sees {-(-largest // parts)} of them at a time" if normalised else "",
    )


def release(device: torch.device) -> None:
    """Give back what a failed attempt has left behind."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
