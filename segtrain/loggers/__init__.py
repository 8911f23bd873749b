"""Where scalars and pictures go next to the run folder's own files."""

from segtrain.loggers.base import Logger, NoLogger
from segtrain.loggers.tensorboard import TensorBoard

__all__ = ["Logger", "NoLogger", "TensorBoard"]
