"""Loggers of scalars and pictures, in addition to the files of the run folder."""

from segtrain.loggers.base import Logger, NoLogger
from segtrain.loggers.crash import Crash
from segtrain.loggers.tensorboard import TensorBoard

__all__ = ["Crash", "Logger", "NoLogger", "TensorBoard"]
