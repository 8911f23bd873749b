"""Optimizers, learning-rate schedules, parameter groups, and moving averages of weights."""

from segtrain.optim.ema import ModelEma
from segtrain.optim.lion import Lion
from segtrain.optim.muon import Muon
from segtrain.optim.parameter_groups import parameter_groups, parameter_names, set_learning_rate
from segtrain.optim.schedule_free import schedule_free_adamw
from segtrain.optim.schedules import Constant, Cosine, MultiStep, OneCycle, Poly, Schedule

__all__ = [
    "Constant",
    "Cosine",
    "Lion",
    "ModelEma",
    "MultiStep",
    "Muon",
    "OneCycle",
    "Poly",
    "Schedule",
    "parameter_groups",
    "parameter_names",
    "schedule_free_adamw",
    "set_learning_rate",
]
