"""Errors that the user can fix, shown as a message; all others are bugs and keep their traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

SIGNALLED = 128
"""What is added to the number of a signal, for the exit code of what it ended, as shells do."""


class SegtrainError(Exception):
    """Base of errors that the CLI prints without a traceback, to exit with their ``exit_code``."""

    exit_code = 2


class ConfigError(SegtrainError):
    """The configuration cannot be used; the message holds one line for each problem."""


class DataError(SegtrainError):
    """A file or folder of the data cannot be used; the message names it, ``kind`` is a word for the problem."""

    KIND = "unreadable"

    def __init__(self, message: str, *, kind: str = KIND) -> None:
        super().__init__(message)
        self.kind = kind


class CheckpointError(SegtrainError):
    """A checkpoint cannot be read, trusted or continued; the message names it."""


class StorageError(SegtrainError):
    """A disk is full or cannot be written; the message says what was saved and how to go on."""


class ShortOfMemoryError(SegtrainError):
    """The memory of a device or of the machine is too small; the message says what needs less."""


class DivergedError(SegtrainError):
    """Training diverged to NaN or infinity; the message names the step, its images and the last good state.

    ``step`` is its number (0-based); None where a validation diverged.
    """

    def __init__(self, message: str, *, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


class Interrupted(SegtrainError):  # noqa: N818 - not an error: the run did what it was asked
    """A signal stopped the run, and its state is saved; exits with 128 + the signal, as shells do."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = SIGNALLED + signal_number


class Stopped(SegtrainError):  # noqa: N818 - as above
    """A run stopped before its end because the user had asked for it beforehand, and its state is saved."""

    exit_code = 0


class ElsewhereError(SegtrainError):
    """Another process of a distributed job failed, and has said why; this one ends without a word.

    Or with a message, which is printed where nothing ends this process for some seconds.
    """

    def __init__(self, exit_code: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code


class KilledError(SegtrainError):
    """A signal killed a process of a distributed job; exits with 128 + the signal, as shells do."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = SIGNALLED + signal_number


class Problems:
    """Collects errors, to raise them together as one with a line each."""

    def __init__(self) -> None:
        self._errors: list[SegtrainError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Collect an error that is raised in the block; what follows it in the block is skipped."""
        try:
            yield
        except SegtrainError as error:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raise one error with the lines of all, of the type of the first, if there were any."""
        if self._errors:
            raise type(self._errors[0])("\n".join(map(str, self._errors)))
