"""``segtrain resume RUN``: resume a run; the same as ``segtrain resume=RUN``."""

from segtrain.commands import train
from segtrain.errors import ConfigError
from segtrain.terminal.arguments import EXAMPLES, Arguments


def run(arguments: Arguments) -> int:
    """Run the command; raises `ConfigError` where no run is named."""
    if arguments.overrides.last("resume") is None:
        raise ConfigError(f"resume: names no run; write {EXAMPLES['resume']}")
    return train.run(arguments)
