"""Handling of SIGINT, SIGTERM and SIGUSR1: finish the step, save, then stop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2


class StopRequest:
    """Records a signal for the training loop to save and stop; Ctrl-C after it stops at once.

    SIGUSR1 is what batch systems send before the time of a job is over. ``is_said``: it is written to the terminal
    what happens now.
    """

    def __init__(self, *, is_said: bool = True) -> None:
        self.signal_number: int | None = None
        self.is_said = is_said

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catch the signals while the context is open."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.signal(number, self._remember) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return  # batch systems and launchers send a signal twice, and SIGTERM after SIGUSR1: saving goes on
        self.signal_number = number
        if not self.is_said:
            return
        # not by logging: the signal may interrupt a write of it, and buffered streams are not reentrant
        said = f"{signal.Signals(number).name}: finishing the step, then saving (Ctrl-C to stop at once)\n"
        with suppress(OSError):  # stderr is closed
            os.write(_STDERR, said.encode())
