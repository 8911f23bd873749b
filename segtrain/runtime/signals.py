"""Handling of SIGINT and SIGTERM: finish the step, save, then stop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2


class StopRequest:
    """Records a SIGINT or SIGTERM for the training loop to save and stop; a second one stops at once.

    ``is_said``: it is written to the terminal what happens now.
    """

    def __init__(self, *, is_said: bool = True) -> None:
        self.signal_number: int | None = None
        self.is_said = is_said

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
        if not self.is_said:
            return
        # not by logging: the signal may interrupt a write of it, and buffered streams are not reentrant
        said = f"{signal.Signals(number).name}: finishing the step, then saving (once more to stop at once)\n"
        with suppress(OSError):  # stderr is closed
            os.write(_STDERR, said.encode())
