"""Learning-rate schedules: pure functions of the optimizer step."""

import math
from collections.abc import Sequence
from typing import Annotated, Protocol

from segtrain.config.signature import Range
from segtrain.errors import ConfigError

Warmup = Annotated[float, Range(low=0)]

Fraction = Annotated[float, Range(low=0, high=1)]

Part = Annotated[float, Range(above=0)]


class Schedule(Protocol):
    """A factor on the learning rate for each optimizer step."""

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of step ``step`` (0-based) out of ``total_steps``."""
        ...


class Constant:
    """Linear warm-up, then a factor of 1."""

    def __init__(self, *, warmup: Warmup = 0.0) -> None:
        _refuse_part_of_step("warmup", warmup, remedy=f"scheduler.warmup={round(warmup)}")
        self.warmup = warmup

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        # Above 0 at the first step, which would teach nothing else, and 1 at the first after the
        # warm-up.
        return min(1.0, (step + 1) / (self.warmup_steps(total_steps) + 1))

    def warmup_steps(self, total_steps: int) -> int:
        """Return the steps of warm-up: below 1 ``warmup`` is a fraction of the total, from 1 on a count."""
        return _steps(self.warmup, total_steps)

    def progress(self, step: int, total_steps: int) -> float:
        """Return the progress after the warm-up, 0 to 1; 0 during it, so that it does not decay yet."""
        warmup = self.warmup_steps(total_steps)
        return min(1.0, max(0, step - warmup) / max(1, total_steps - warmup))


class Cosine(Constant):
    """Linear warm-up, then half a cosine from 1 to ``final`` (Loshchilov and Hutter 2017, without restarts)."""

    def __init__(self, *, warmup: Warmup = 0.05, final: Fraction = 0.0) -> None:
        super().__init__(warmup=warmup)
        self.final = final

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        decay = 0.5 * (1 + math.cos(math.pi * self.progress(step, total_steps)))
        return super().__call__(step, total_steps) * (self.final + (1 - self.final) * decay)


class Poly(Constant):
    """Linear warm-up, then ``(1 - progress) ** power`` down to ``final`` (Chen et al. 2017, section 4.1)."""

    def __init__(
        self, *, warmup: Warmup = 0.0, power: Annotated[float, Range(above=0)] = 0.9, final: Fraction = 0.0
    ) -> None:
        super().__init__(warmup=warmup)
        self.power, self.final = power, final

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        decay = float((1 - self.progress(step, total_steps)) ** self.power)
        return super().__call__(step, total_steps) * (self.final + (1 - self.final) * decay)


class MultiStep(Constant):
    """Linear warm-up, then times ``gamma`` at each of ``milestones``, as ResNets were trained (He et al. 2016)."""

    def __init__(
        self,
        *,
        warmup: Warmup = 0.0,
        milestones: Sequence[Part] = (0.6, 0.8),
        gamma: Annotated[float, Range(above=0, high=1)] = 0.1,
    ) -> None:
        super().__init__(warmup=warmup)
        for milestone in milestones:
            rounded = [one if one < 1 else round(one) for one in milestones]
            remedy = f"scheduler.milestones=[{','.join(f'{one:g}' for one in rounded)}]"
            _refuse_part_of_step("milestones", milestone, remedy=remedy)
        self.milestones, self.gamma = tuple(milestones), gamma

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        passed = sum(step >= _steps(milestone, total_steps) for milestone in self.milestones)
        return super().__call__(step, total_steps) * self.gamma**passed


class OneCycle:
    """Half a cosine up from ``start`` to 1 in the first steps, and half a cosine down to ``final`` (Smith 2018).

    Step by step that of torch's ``OneCycleLR``; ``start`` and ``final`` are fractions of the highest rate, which is
    ``optimizer.lr``.
    """

    def __init__(
        self, *, rise: Annotated[float, Range(above=0, high=0.99)] = 0.3, start: Fraction = 0.04, final: Fraction = 4e-6
    ) -> None:
        self.rise, self.start, self.final = rise, start, final

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        top, last = self.rise * total_steps - 1, total_steps - 1
        if step <= top:
            return _between(self.start, 1.0, step / top if top else 1.0)
        return _between(1.0, self.final, min(1.0, (step - top) / (last - top)))


def _between(start: float, end: float, progress: float) -> float:
    """Return the value of half a cosine from ``start`` to ``end`` at a progress from 0 to 1."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _steps(amount: float, total_steps: int) -> int:
    """Return a number of steps: below 1 a fraction of the total, from 1 on a count."""
    return round(amount * total_steps) if amount < 1 else int(amount)


def _refuse_part_of_step(key: str, amount: float, *, remedy: str) -> None:
    if amount >= 1 and amount != int(amount):
        raise ConfigError(
            f"scheduler.{key}: {amount:g} is neither a fraction of the steps below 1 nor a whole number of steps; "
            f"set {remedy}"
        )
