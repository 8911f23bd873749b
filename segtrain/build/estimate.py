"""How long a training takes on this machine, from a few of its steps."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from segtrain.build.training import build_trainer
from segtrain.evaluation.evaluator import evaluate
from segtrain.training.trainer import Trainer

T = TypeVar("T")
STEPS = 5
"""Steps that are timed."""
_WARM_UP = 2  # steps: the first allocates, and the second has the optimizer's state
_BATCHES = 2  # of validation


@dataclass(frozen=True)
class Estimate:
    """The parameters and optimizer steps of a training, and the seconds that it takes to its end."""

    parameters: int
    steps: int
    seconds: float


def estimate(job: Mapping[str, Any]) -> Estimate:
    """Build a training, time a few steps with their data, and a few batches of validation; nothing is kept.

    Checkpoints and pictures are not counted. Raises `SegtrainError` where the training cannot be built.
    """
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        trainer = build_trainer(job, Path(folder))
        built = time.perf_counter() - start
        training, validation = seconds_of_steps(trainer), seconds_of_validation(trainer)
    epochs = math.ceil(trainer.total_steps / trainer.steps_per_epoch)
    validations = math.ceil(epochs / trainer.options.val_every)
    return Estimate(
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        steps=trainer.total_steps,
        seconds=built + trainer.total_steps * training + validations * validation,
    )


def seconds_of_steps(trainer: Trainer) -> float:
    """Return the seconds of one optimizer step, and of reading its data."""
    times = timed(trainer.groups(), trainer.train_step, _WARM_UP + STEPS, trainer.runtime.device.type)
    return median(times[_WARM_UP:] or times)


def seconds_of_validation(trainer: Trainer) -> float:
    """Return the seconds of one validation, without pictures."""
    start = time.perf_counter()
    batches = list(islice(trainer.val.batches(), _BATCHES))
    evaluate(trainer.scored, batches, task=trainer.task, loss=trainer.loss)
    return (time.perf_counter() - start) / len(batches) * len(trainer.val)


def timed(items: Iterable[T], do: Callable[[T], object], count: int, device: str) -> list[float]:
    """Return the seconds that each of the first items takes, its reading included; waits for the device."""
    import torch

    times, start = [], time.perf_counter()
    for item in islice(items, count):
        do(item)
        if device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - start)
        start = now
    return times
