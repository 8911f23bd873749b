"""Work beside the training loop, in a thread: checkpoints are written from a copy of what they hold."""

from collections.abc import Callable
from threading import Thread
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from segtrain.runtime.shards import each_tensor, whole


class Background:
    """Does one piece of work at a time in a thread; what it raises comes up at the next call here.

    The process does not end before the work is done.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Start a piece of work; waits for the one before, and raises what that has raised."""
        self.wait()
        self._thread = Thread(target=self._do, args=(work,), name="background")
        self._thread.start()

    def check(self) -> None:
        """Raise what finished work has raised; does not wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until there is no work, and raise what it has raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error


def snapshot(value: Any, *, keep: bool = True) -> Any:
    """Copy what a checkpoint holds: tensors to the memory of the CPU, in dicts, lists and tuples.

    Those that are shared out are gathered, as `whole` does; a rank that does not ``keep`` them gets None.
    """

    def copied(tensor: Tensor) -> Tensor | None:
        if isinstance(tensor, DTensor):
            gathered: Tensor | None = whole(tensor, keep=keep)
            return gathered
        return tensor.detach().to("cpu", copy=True) if keep else None

    return each_tensor(value, copied)
