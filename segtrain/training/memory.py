"""Out of memory: batches are taken in smaller parts from then on, for the same step of the same images."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segtrain.errors import ShortOfMemoryError
from segtrain.runtime.memory import in_short, is_out_of_memory
from segtrain.runtime.world import World

log = logging.getLogger(__name__)

_LONELY = "Expected more than 1 value per channel"  # by parts of one image: where batches have one, none is begun with


@contextmanager
def telling_what_needs_less(resume_command: str) -> Iterator[None]:
    """Raise `ShortOfMemoryError` for memory that ran out where no smaller parts help, with how to go on."""
    try:
        yield
    except (RuntimeError, MemoryError, ValueError) as error:
        if not is_out_of_memory(error) and _LONELY not in str(error):
            raise
        raise ShortOfMemoryError(
            f"out of memory ({in_short(error)}); go on from the last checkpoint with less at a time: {resume_command} "
            "data.batch_size=... trainer.grad_accum_steps=..., or with a smaller data.image_size"
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


def tell(model: nn.Module, largest: int, parts: int) -> None:
    """Log that batches, the largest of so many images, are taken in parts from now on."""
    normalised = any(isinstance(module, _BatchNorm) for module in model.modules())
    log.warning(
        "out of memory: each batch of %d is taken in %d parts from this step on; steps have the same images%s",
        largest,
        parts,
        f", but batch normalisation sees {-(-largest // parts)} of them at a time" if normalised else "",
    )
