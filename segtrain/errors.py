"""What the user can do something about; everything else keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class SegtrainError(Exception):
    """Something outside this code: the command line prints the message without a traceback and exits with that code."""

    exit_code = 2


class ConfigError(SegtrainError):
    """The configuration cannot be used; the message holds one line for each problem."""


class DataError(SegtrainError):
    """A file or folder of the data cannot be used; the message names it."""


class CheckpointError(SegtrainError):
    """A checkpoint cannot be read, trusted or continued; the message names it."""


class StorageError(SegtrainError):
    """A disk takes no more: it is full or must not be written; the message says what is kept and how to go on."""


class DivergedError(SegtrainError):
    """Training produced values that are not finite; the message names the step, its images and the last good state."""


class Interrupted(SegtrainError):  # noqa: N818 - not an error: the run did what it was asked
    """A signal asked the run to stop, and its state is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class Problems:
    """Mistakes that are found one after another and said together, a line each."""

    def __init__(self) -> None:
        self._errors: list[SegtrainError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep a mistake for later; what follows it in the block is passed over."""
        try:
            yield
        except SegtrainError as error:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raise one error of the first one's kind with all lines, if there were any."""
        if self._errors:
            raise type(self._errors[0])("\n".join(map(str, self._errors)))
