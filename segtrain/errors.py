"""What the user can do something about; everything else keeps its traceback."""


class SegtrainError(Exception):
    """A mistake outside this code: the command line prints the message without a traceback and exits with 2."""


class ConfigError(SegtrainError):
    """The configuration cannot be used; the message holds one line for each problem."""


class DataError(SegtrainError):
    """A file or folder of the data cannot be used; the message names it."""


class CheckpointError(SegtrainError):
    """A checkpoint cannot be read, trusted or continued; the message names it."""
