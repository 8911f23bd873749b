"""Learning-rate schedules, parameter groups, and the moving average of weights."""

from segtrain.optim.ema import ModelEma
from segtrain.optim.parameter_groups import parameter_groups, parameter_names, set_learning_rate
from segtrain.optim.schedules import Constant, Cosine, Poly, Schedule

__all__ = [
    "Constant",
    "Cosine",
    "ModelEma",
    "Poly",
    "Schedule",
    "parameter_groups",
    "parameter_names",
    "set_learning_rate",
]
