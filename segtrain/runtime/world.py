"""The processes of one job: which of them this is, and what they tell each other.

They are started by torchrun, which says in environment variables how many there are. Without it there is one
process, and nothing here does anything.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segtrain.errors import ElsewhereError, SegtrainError

T = TypeVar("T")
_LOST = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited")  # what gloo and NCCL say
_PATIENCE = timedelta(minutes=30)  # of a rank that waits for another, such as for the first to check all files


@dataclass(frozen=True)
class World:
    """This process among ``size``: its number ``rank``, and ``local_rank`` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> "World":
        """Return what torchrun says; one process without it."""
        rank, size, local_rank = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return cls(int(rank or 0), int(size or 1), int(local_rank or 0))

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run folder and the terminal."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is one process."""
        return self.size == 1

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Connect the processes while the context is open: gloo for tensors on the CPU, NCCL for those on GPUs."""
        if self.is_alone:
            yield
            return
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store, rank, size = next(dist.rendezvous("env://", timeout=_PATIENCE))  # type: ignore[attr-defined]
        # torchrun keeps one store through restarts: without a name for each, ranks could read addresses of the dead
        attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        own = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=_PATIENCE)
        try:
            yield
        except RuntimeError as error:
            if any(sign in str(error) for sign in _LOST):
                raise ElsewhereError(1, f"rank {rank}: another process of the job has ended; it said why") from None
            raise
        finally:
            dist.destroy_process_group()

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order, to every rank; they are pickled."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place."""
        if not self.is_alone:
            dist.all_reduce(tensor)
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """Take the least of all ranks, element by element, in place."""
        if not self.is_alone:
            dist.all_reduce(tensor, dist.ReduceOp.MIN)
        return tensor

    def most(self, *values: int) -> tuple[int, ...]:
        """Return the greatest of all ranks for each of several numbers; every rank waits for all others."""
        if self.is_alone:
            return values
        found = torch.tensor(values)  # on the CPU: nobody waits for a GPU
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return tuple(found.tolist())

    def by_first(self, task: Callable[[], T]) -> T:
        """Do something on the first rank alone, and return its result to all.

        What it raises there ends the other ranks with `ElsewhereError`.
        """
        if self.is_alone:
            return task()
        told: list[Any] = [None, None]
        try:
            if self.is_first:
                told[0] = task()
        except BaseException as error:
            told[1] = error.exit_code if isinstance(error, SegtrainError) else 1
            raise
        finally:
            dist.broadcast_object_list(told)
        if told[1] is not None:
            raise ElsewhereError(told[1])
        result: T = told[0]
        return result

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first rank pass the block before the others enter: it fills caches that they read then.

        What it raises there ends the others with `ElsewhereError`.
        """
        if not self.is_first:
            self.by_first(lambda: None)
            yield
            return
        failure: list[BaseException] = []
        try:
            yield
        except BaseException as error:
            failure.append(error)
        self.by_first(lambda: _raise(failure))

    def share(self, module: nn.Module) -> None:
        """Give all ranks the weights and buffers of the first; they are contiguous."""
        if not self.is_alone:
            for parameter in module.parameters():
                dist.broadcast(parameter.detach(), 0)
        self.share_buffers(module)

    def share_buffers(self, *modules: nn.Module) -> None:
        """Give all ranks the buffers of the first, such as running statistics of batch normalisation."""
        if not self.is_alone:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, 0)

    @contextmanager
    def said_once(self) -> Iterator[None]:
        """Let the first rank alone say what all of them raise in the block."""
        try:
            yield
        except SegtrainError as error:
            if self.is_first:
                raise
            raise ElsewhereError(error.exit_code) from None


def _raise(errors: list[BaseException]) -> None:
    if errors:
        raise errors[0]


ALONE = World()
