"""Learning-rate schedules: pure functions of the optimizer step."""

import math
from typing import Annotated, Protocol

from segtrain.config.signature import Range
from segtrain.errors import ConfigError

Warmup = Annotated[float, Range(low=0)]

Fraction = Annotated[float, Range(low=0, high=1)]


class Schedule(Protocol):
    """A factor on the learning rate for each optimizer step."""

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of step ``step`` (0-based) out of ``total_steps``."""
        ...


class Constant:
    """Linear warm-up, then a factor of 1."""

    def __init__(self, *, warmup: Warmup = 0.0) -> None:
        if warmup >= 1 and warmup != int(warmup):
            raise ConfigError(
                f"scheduler.warmup: {warmup:g} is neither a fraction of the steps below 1 nor a whole number of steps; "
                f"set scheduler.warmup={round(warmup)}"
            )
        self.warmup = warmup

    def __call__(self, step: int, total_steps: int) -> float:
        """Return the factor of one step."""
        # Above 0 at the first step, which would teach nothing else, and 1 at the first after the
        # warm-up.
        return min(1.0, (step + 1) / (self.warmup_steps(total_steps) + 1))

    def warmup_steps(self, total_steps: int) -> int:
        """Return the steps of warm-up: below 1 ``warmup`` is a fraction of the total, from 1 on a count."""
        return round(self.warmup * total_steps) if self.warmup < 1 else int(self.warmup)

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
