"""Loggers of scalars and pictures, in addition to the files of the run folder."""

from segtrain.loggers.base import Logger, NoLogger
from segtrain.loggers.crash import Crash
from segtrain.loggers.guarded import Guarded, Several
from segtrain.loggers.mlflow import MLflow
from segtrain.loggers.tensorboard import TensorBoard
from segtrain.loggers.trackio import Trackio
from segtrain.loggers.wandb import WandB

__all__ = ["Crash", "Guarded", "Logger", "MLflow", "NoLogger", "Several", "TensorBoard", "Trackio", "WandB"]
