"""``segtrain resume RUN``: go on with a run; the same as ``segtrain resume=RUN``."""

from dataclasses import replace

from segtrain.commands import train
from segtrain.config.compose import overrides_of
from segtrain.errors import ConfigError
from segtrain.terminal.arguments import EXAMPLES, Arguments, name_words


def run(arguments: Arguments) -> int:
    """Train on; raises ConfigError where no run is named."""
    words = name_words(arguments.overrides, "resume")
    if [None, *overrides_of(words, "resume")][-1] is None:
        raise ConfigError(f"resume: names no run; write {EXAMPLES['resume']}")
    return train.run(replace(arguments, overrides=tuple(words)))
