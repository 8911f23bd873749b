"""What the user can do something about; everything else keeps its traceback."""


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
