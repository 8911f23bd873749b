"""The tuning of a training: what is measured in which order, and what comes out."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from segtrain.build.tuning.fitting import last_that_fits, least_batch
from segtrain.build.tuning.machine import Measuring
from segtrain.build.tuning.search import Budget, Row, Search, together
from segtrain.build.tuning.settings import (
    ACCUMULATION,
    BATCH,
    CACHE,
    CACHE_MB,
    CHECKPOINTING,
    COMPILE,
    LAYOUT,
    PRECISION,
    SIZE,
    WORKERS,
    Axis,
    Facts,
    Part,
    Settings,
    compile_axis,
    divided,
    divisors,
    effective_batch,
    larger,
    loader_axes,
    step_axes,
    without_fixed,
)
from segtrain.data.loading.cache import MIB
from segtrain.errors import ConfigError, ShortOfMemoryError

KEYS: Mapping[Part, tuple[str, ...]] = {
    "step": (SIZE, BATCH, ACCUMULATION, PRECISION, LAYOUT, COMPILE, CHECKPOINTING),
    "loader": (SIZE, WORKERS, CACHE, CACHE_MB),
}
"""The keys that the time of each part depends on, of those that are tuned."""
_SHARE = 0.6  # of the time, for the part that is tuned first


@dataclass(frozen=True)
class Wishes:
    """What the user asks for: keys in ``fixed`` stay, batches of a step too unless they may grow.

    ``sizes`` are the images' sizes to choose from for ``memory`` bytes, in rising order; None where memory is what the
    machine has, and the size stays. ``margin`` is the share that counts as noise.
    """

    fixed: Collection[str]
    may_grow: bool
    margin: float
    memory: float | None = None
    sizes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """The machine's cores, its memory in bytes (inf: not known), and the data's number of images and bytes of each.

    ``training`` is how many images a whole training takes.
    """

    cores: int
    workers: int  # that ``data.num_workers=auto`` means
    memory: float
    images: int
    sample_bytes: int
    training: float


@dataclass(frozen=True)
class Rates:
    """Images a second of step and loader alone, and what is to be expected of both."""

    step: float
    loader: float
    expected: float


class Tuner:
    """Looks for the settings with which a training is to be expected the quickest.

    The part that bounds it comes first. ``estimate`` computes the bytes that settings need.
    """

    def __init__(
        self,
        measuring: Measuring,
        wishes: Wishes,
        around: Surroundings,
        *,
        budget: Budget,
        estimate: Callable[[Settings], float],
    ) -> None:
        self.measuring, self.wishes, self.around, self.budget = measuring, wishes, around, budget
        self.estimate = estimate
        self.current: dict[str, Any] = {}
        limit = around.memory if wishes.memory is None else min(wishes.memory, around.memory)
        self.searches: dict[Part, Search] = {
            "step": Search(
                measuring.step,
                budget=budget,
                margin=wishes.margin,
                worth=self._worth_of_step,
                limit=limit,
                predict=self._predicted,
                images=around.training,
            ),
            "loader": Search(measuring.loader, budget=budget, margin=wishes.margin, worth=self._worth_of_loader),
        }

    @property
    def facts(self) -> Facts:
        """What the first measurement has found of machine and model."""
        assert self.measuring.facts is not None, "a step was measured"
        return self.measuring.facts

    def tune(self, settings: Settings) -> Settings:
        """Return the best settings, from those of the config on; raises `ShortOfMemoryError` where none can run."""
        self.current = {**settings}
        self.current |= self._begin()
        if self.wishes.memory is not None:
            self.current |= self._fitted()
        self.searches["loader"].start(self.of("loader"))
        now = self.rates()
        order: tuple[Part, Part] = ("step", "loader") if now.step <= now.loader else ("loader", "step")
        for part, share in zip(order, (_SHARE, 1.0), strict=True):
            self._improve(self._axes(part), self.budget.share(share))
        self._improve(self._axes(order[0]), self.budget)  # what there was no time for, if the other part has left some
        self._improve([compile_axis(self.current, self.facts)], self.budget)
        return self.current

    def of(self, part: Part, settings: Settings | None = None) -> Settings:
        """Return the settings that a part's time depends on; of those so far unless others are given."""
        chosen = self.current if settings is None else settings
        return {key: chosen[key] for key in KEYS[part]}

    def row(self, part: Part, settings: Settings | None = None) -> Row:
        """Return what was measured of a part."""
        found = self.searches[part].row_of(self.of(part, settings))
        assert found is not None, "it was measured"
        return found

    def has_measured(self, settings: Settings) -> bool:
        """Tell whether both parts were measured with these settings."""
        return all(search.row_of(self.of(part, settings)) is not None for part, search in self.searches.items())

    def rates(self, settings: Settings | None = None) -> Rates:
        """Return the rates of settings that were measured; of those so far unless others are given."""
        chosen = settings or self.current
        step, loader = self.row("step", chosen).rate, self.row("loader", chosen).rate
        return Rates(step, loader, self._together(step, loader, chosen))

    def _begin(self) -> Settings:
        """Measure the step as it is; where memory is too small, with less kept, then with fewer images at a time."""
        search, settings, fixed = self.searches["step"], self.of("step"), self.wishes.fixed
        whole = effective_batch(settings)
        parts = () if BATCH in fixed else reversed([part for part in divisors(whole) if part < settings[BATCH]])
        less = [{**settings, CHECKPOINTING: True}] if self._may_checkpoint(settings) else []
        row = search.start(settings)
        for other in (*less, *({**settings, **divided(whole, part)} for part in parts)):
            if self.measuring.facts is not None:
                break
            row = search.start(other)
        if self.measuring.facts is None:
            raise ShortOfMemoryError(
                f"data.batch_size={row.settings[BATCH]}: {row.problem}; set a smaller data.image_size or batch"
            )
        return row.settings

    def _may_checkpoint(self, settings: Settings) -> bool:
        """Tell whether blocks may run again in the backward pass, which changes nothing but time and memory."""
        is_free = CHECKPOINTING not in self.wishes.fixed and not settings[CHECKPOINTING]
        return is_free and settings[COMPILE] != "reduce-overhead"

    def _fitted(self) -> Settings:
        """Choose the largest images for the memory, then as many of them at a time as can be."""
        start, fixed = self.of("step"), self.wishes.fixed
        whole = effective_batch(start)
        least = start[BATCH] if BATCH in fixed else least_batch(whole, normalised=self.facts.normalised)
        sizes = (start[SIZE],) if SIZE in fixed else self.wishes.sizes
        options: list[Settings] = [{**start, SIZE: size, **divided(whole, least)} for size in sizes]
        found = self._last_that_fits("size", options)
        if found != options[-1] and self._may_checkpoint(start):
            left = options[0 if found is None else options.index(found) + 1 :]
            found = self._last_that_fits("size", [{**option, CHECKPOINTING: True} for option in left]) or found
        if found is None:
            last = self.searches["step"].rows[-1]
            reason = f"{last.peak / 2**30:.2f} GiB" if last.peak else last.problem
            raise ConfigError(
                f"memory: {least} images of {sizes[0]} pixels at a time are too much ({reason}); give more, or choose "
                "a smaller encoder"
            )
        if BATCH in fixed:
            return found
        wholes = [whole, *(larger(whole, images=self.around.images) if self.wishes.may_grow else ())]
        parts = [divided(whole, part) for part in divisors(whole) if part >= least]
        parts += [divided(size, size) for size in wholes[1:]]
        return self._last_that_fits("batch", [{**found, **part} for part in parts]) or found

    def _last_that_fits(self, axis: str, options: Sequence[Settings]) -> Settings | None:
        """Return the last of options in rising order of need whose peak is within the limit."""
        search, briefly = self.searches["step"], partial(self.measuring.step, brief=True)

        def peak(number: int) -> float | None:
            return search.probe(axis, options[number], briefly).peak or None

        estimates = [self.estimate(option) for option in options]
        found = last_that_fits(estimates, peak, limit=search.limit)
        return None if found is None else options[found]

    def _improve(self, axes: Sequence[Axis], budget: Budget) -> None:
        """Vary one axis after the other within a budget."""
        for axis in without_fixed(axes, self.wishes.fixed):
            search = self.searches[axis.part]
            search.budget = budget
            self.current |= search.along(axis, self.of(axis.part))

    def _axes(self, part: Part) -> list[Axis]:
        around, wishes = self.around, self.wishes
        if part == "loader":
            workers = self._workers(self.current)
            needed = math.ceil(around.images * (around.sample_bytes + 8) / MIB)  # and a mark of each
            spare = 0 if wishes.memory is not None else around.memory / 4 / MIB  # the split to validate has one too
            return loader_axes(
                self.current,
                cores=around.cores,
                workers=workers,
                needed_mb=needed,
                spare_mb=math.floor(min(spare, 2**30)),
            )
        axes = step_axes(self.current, self.facts, images=around.images, may_grow=wishes.may_grow)
        return [axis for axis in axes if axis.name != "batch" or wishes.memory is None]  # it was chosen by memory

    def _workers(self, settings: Settings) -> int:
        return self.around.workers if settings[WORKERS] == "auto" else settings[WORKERS]

    def _together(self, step: float, loader: float, settings: Settings) -> float:
        threads, cores = self.facts.threads, self.around.cores
        return together(step, loader, workers=self._workers(settings), threads=threads, cores=cores)

    def _worth_of_step(self, _settings: Settings, rate: float) -> float:
        return self._together(rate, self.row("loader").rate, self.current)

    def _worth_of_loader(self, settings: Settings, rate: float) -> float:
        return self._together(self.row("step").rate, rate, settings)

    def _predicted(self, settings: Settings) -> float | None:
        """Return the computed need of settings of more images at a time than those so far: others need not more."""
        return self.estimate(settings) if settings[BATCH] > self.current[BATCH] else None
