"""The learning-rate range test: the loss of a training whose learning rate grows exponentially."""

import math
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np

from segtrain.errors import ConfigError
from segtrain.training.step import grouped
from segtrain.training.trainer import Trainer

_DIVERGED = 4.0  # times the lowest smoothed loss, from where on nothing is learnt any more (fastai's bound)
_FEWEST = 10  # steps before the smoothed loss says anything


@dataclass(frozen=True)
class RangeTest:
    """Learning rates, and the loss at each, as it is and smoothed."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)

    def add(self, rate: float, loss: float, *, smoothing: float) -> None:
        """Add a step; the average is corrected for its start at 0, as Adam's are."""
        weight = 1 - smoothing ** len(self.losses)  # of the steps before this one in the average
        sum_before = self.smoothed[-1] * weight if self.smoothed else 0.0
        self.rates.append(rate)
        self.losses.append(loss)
        self.smoothed.append((smoothing * sum_before + (1 - smoothing) * loss) / (1 - smoothing ** len(self.losses)))

    @property
    def has_diverged(self) -> bool:
        """Whether the last loss is not finite, or far above the lowest."""
        if not math.isfinite(self.losses[-1]):
            return True
        return len(self.losses) > _FEWEST and self.smoothed[-1] > _DIVERGED * min(self.smoothed)

    def steepest(self) -> float:
        """Return the rate at which the smoothed loss falls fastest over the logarithm of the rate.

        Raises `ConfigError` where it never falls.
        """
        finite = [number for number, loss in enumerate(self.smoothed) if math.isfinite(loss)]
        if len(finite) < _FEWEST:
            raise ConfigError(
                f"lr_find: {len(finite)} steps before the loss was not finite, expected {_FEWEST} or more; lower "
                "lowest and highest"
            )
        slopes = np.gradient(np.array(self.smoothed)[finite], np.log(np.array(self.rates)[finite]))
        best = int(slopes.argmin())
        if slopes[best] >= 0:
            raise ConfigError(
                f"lr_find: the loss never falls from {self.rates[0]:g} to {self.rates[-1]:g}; raise highest, or look "
                "at the data with `segtrain preview`"
            )
        return self.rates[best]


def range_test(
    trainer: Trainer, *, lr: float, lowest: float, highest: float, steps: int, smoothing: float
) -> RangeTest:
    """Train for ``steps`` steps while the rate grows from ``lowest`` to ``highest`` (Smith 2017, section 3.3).

    ``lr`` is that of the config, from which the rates of all parameter groups derive. Ends where the loss diverges.
    The trainer cannot be used afterwards.
    """
    found = RangeTest()
    trainer.model.start_epoch(0)
    trainer.network.module.train()
    batches = (batch for epoch in count() for batch in trainer.train.batches(epoch))
    for step, group in enumerate(islice(grouped(batches, trainer.options.grad_accum_steps), steps)):
        rate = lowest * (highest / lowest) ** (step / (steps - 1))
        trainer.schedule = lambda *_, factor=rate / lr: factor
        loss, _ = trainer.train_step(group)
        found.add(rate, loss.item(), smoothing=smoothing)
        trainer.state.step += 1
        if found.has_diverged:
            break
    return found
