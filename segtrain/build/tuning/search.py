"""The search: one axis after the other, with what was measured, and what is chosen of it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TypeAlias

from segtrain.build.tuning.settings import Axis, Settings

OUT_OF_TIME = "not measured: the time is over"
TOO_MUCH = "needs more memory than it may"


@dataclass(frozen=True)
class Measured:
    """What one measurement found: images a second, the peak of memory in bytes, the seconds that it took in all.

    ``startup`` are seconds that a training pays once for the rate; ``problem`` says why there is none.
    """

    rate: float = 0.0
    peak: int = 0
    seconds: float = 0.0
    startup: float = 0.0
    problem: str | None = None


Measure: TypeAlias = Callable[[Settings], Measured]


class Budget:
    """Time to measure in, by a clock in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; less than none where it was overrun."""
        return self._end - self._clock()

    def share(self, part: float) -> "Budget":
        """Return a budget of a part of what is left."""
        return Budget(part * max(0.0, self.left), self._clock)


@dataclass
class Row:
    """Settings with all that was measured of them."""

    axis: str
    settings: Settings
    found: list[Measured] = field(default_factory=list)

    @property
    def problem(self) -> str | None:
        """Why they cannot be chosen; None if they can."""
        return next((each.problem for each in self.found if each.problem), None)

    @property
    def rate(self) -> float:
        """Images a second, the median; 0 where there is a problem."""
        return 0.0 if self.problem else median(each.rate for each in self.found)

    @property
    def startup(self) -> float:
        """Seconds that a training pays once, the median."""
        return median(each.startup for each in self.found)

    @property
    def peak(self) -> int:
        """The most memory of any of them, in bytes."""
        return max(each.peak for each in self.found)


class Search:
    """Looks for the settings of one part with the highest worth, which is a function of settings and rate.

    Others than those so far have to be worth more by the share ``margin``. Memory above ``limit`` bytes is a problem.
    What ``predict`` says needs more than that is not tried; it returns bytes, or None where it cannot tell. ``images``
    is how many a whole training takes, over which what is paid once is spread.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        budget: Budget,
        margin: float,
        worth: Callable[[Settings, float], float],
        limit: float = math.inf,
        predict: Callable[[Settings], float | None] = lambda _: None,
        images: float = math.inf,
    ) -> None:
        self.measure, self.budget, self.margin, self.worth = measure, budget, margin, worth
        self.limit, self.predict, self.images = limit, predict, images
        self.rows: list[Row] = []

    def start(self, settings: Settings) -> Row:
        """Measure the settings to begin with, however long it takes."""
        return self._measured(Row("", settings))

    def row_of(self, settings: Settings) -> Row | None:
        """Find the row of settings that were measured."""
        return next((row for row in self.rows if row.settings == settings), None)

    def probe(self, axis: str, settings: Settings, measure: Measure) -> Row:
        """Return the row of settings, measured by ``measure`` unless they were before."""
        known = self.row_of(settings)
        return known or self._measured(Row(axis, settings), measure)

    def try_out(self, axis: str, settings: Settings, *, least_seconds: float = 0.0) -> Row:
        """Return the row of settings, measured unless they were before, or there is no time or memory for it."""
        known = self.row_of(settings)
        if known is not None and known.problem != OUT_OF_TIME:
            return known
        if known is not None:
            self.rows.remove(known)  # there may be time for it now
        row = Row(axis, settings)
        usual = median([each.seconds for row in self.rows for each in row.found if each.seconds] or [0.0])
        needed = self.predict(settings)
        if needed is not None and needed > self.limit:
            row.found.append(Measured(problem=f"not measured: would need some {needed / 2**30:.1f} GiB"))
        elif self.budget.left < max(usual, least_seconds):
            row.found.append(Measured(problem=OUT_OF_TIME))
        else:
            return self._measured(row)
        self.rows.append(row)
        return row

    def _measured(self, row: Row, measure: Measure | None = None) -> Row:
        found = (measure or self.measure)(row.settings)
        if not found.problem and found.peak > self.limit:
            found = replace(found, problem=TOO_MUCH)
        row.found.append(found)
        if row not in self.rows:
            self.rows.append(row)
        return row

    def along(self, axis: Axis, current: Settings) -> Settings:
        """Try the options of an axis, and return the best settings: those so far unless others are clearly better.

        Before others are chosen both are measured once more in turn: a machine that has become slower, or quicker,
        is so for both.
        """
        so_far = self.row_of(current)
        assert so_far is not None, "settings to go on from were measured"
        if not self.can_gain(so_far):
            return current
        tried = [
            self.try_out(axis.name, {**current, **option}, least_seconds=axis.least_seconds) for option in axis.options
        ]
        best = max(tried, key=self._worth)
        if not self.is_better(best, so_far):
            return current
        if so_far.problem is None:
            for row in (so_far, best):
                self._measured(row)
        return best.settings if self.is_better(best, so_far) else current

    def can_gain(self, row: Row) -> bool:
        """Tell whether the worth would grow enough if this part took no time at all."""
        return self.worth(row.settings, math.inf) > (1 + self.margin) * self._worth(row)

    def is_better(self, row: Row, other: Row) -> bool:
        """Tell whether a row is worth more than another, and more than noise is."""
        return self._worth(row) > (1 + self.margin) * self._worth(other)

    def _worth(self, row: Row) -> float:
        if row.problem:
            return 0.0
        return self.worth(row.settings, 1 / (1 / row.rate + row.startup / self.images))


def together(step: float, loader: float, *, workers: int, threads: int, cores: int) -> float:
    """Return the images a second that are to be expected of a whole training, from those of step and loader alone.

    Without workers they take turns. With them they go on at once, but where the step computes on ``threads`` of the
    processor's ``cores`` they share those: their times add up over all cores. On a GPU ``threads`` is 0.
    """
    if step <= 0 or loader <= 0:
        return 0.0
    if workers == 0:
        return 1 / (1 / step + 1 / loader)
    busy = (min(threads, cores) / step + min(workers, cores) / loader) / cores if threads else 0.0
    return 1 / max(1 / step, 1 / loader, busy)


def what_bounds(step: float, loader: float, expected: float) -> str:
    """Say in a sentence which of the two a training waits for; rates are images a second."""
    if loader <= 0 or step <= 0:
        return f"nothing could be measured of the {'step' if step <= 0 else 'loader'}, so that nobody knows what bounds"
    slow, quick = (("step", step), ("loader", loader))[:: 1 if step <= loader else -1]
    return (
        f"the {slow[0]} bounds the run: alone it makes {slow[1]:.4g} images/s, the {quick[0]} {quick[1]:.4g}; "
        f"together {expected:.4g} are expected"
    )


def over_epochs(cold: float, warm: float, *, epochs: float, held: float) -> float:
    """Return the images a second of a loader over several epochs, from those of its first and of its later ones.

    ``held`` is the share of the images that the cache has room for: others are read anew in each epoch.
    """
    later = max(0.0, epochs - 1)
    seconds = (1 + later * (1 - held)) / cold + later * held / warm
    return max(1.0, epochs) / seconds
