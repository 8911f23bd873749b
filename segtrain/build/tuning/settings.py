"""What can be set for speed without changing what is trained, or with saying so: values by dotted keys of a config."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

Settings: TypeAlias = Mapping[str, Any]
"""Values of a training config by their dotted keys, such as ``{"data.batch_size": 4}``."""
Part: TypeAlias = Literal["step", "loader"]
"""What is measured apart: optimizer steps of images that are there already, or reading images without a model."""

BATCH, ACCUMULATION, SIZE = "data.batch_size", "trainer.grad_accum_steps", "data.image_size"
PRECISION, LAYOUT = "trainer.precision", "trainer.channels_last"
COMPILE, CHECKPOINTING = "trainer.compile", "trainer.activation_checkpointing"
WORKERS, CACHE, CACHE_MB = "data.num_workers", "data.cache", "data.cache_mb"
_SMALLEST_PART = 4  # a batch is not divided further than into quarters for speed
_COMPILES = 20.0  # seconds that it needs at least to compile a small model and measure it
_LARGEST = 16  # times the batch, to which it may grow where that is allowed


@dataclass(frozen=True)
class Axis:
    """One thing to vary: each option is what it changes in the settings so far.

    An option is not begun with less than ``least_seconds`` left.
    """

    name: str
    part: Part
    options: tuple[Settings, ...]
    least_seconds: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What a machine and a model are, as a first measurement has found.

    ``precision`` is what the config's comes to, ``automatic`` what ``auto`` would. ``normalised`` says that the model
    has batch normalisation, ``threads`` how many compute a step: 0 on a GPU.
    """

    device: str
    device_name: str
    precision: str
    automatic: str
    normalised: bool
    threads: int


def value_at(job: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key."""
    for name in key.split("."):
        job = job[name]
    return job


def with_settings(job: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a copy of a composed job with other values."""
    changed = dict(job)
    for key, value in settings.items():
        group, _, name = key.partition(".")
        changed[group] = {**changed[group], name: value}
    return changed


def effective_batch(settings: Settings) -> int:
    """Return how many images an optimizer step is of."""
    return int(settings[BATCH] * settings[ACCUMULATION])


def divided(images: int, batch: int) -> Settings:
    """Return the settings of a step of so many images, ``batch`` at a time."""
    return {BATCH: batch, ACCUMULATION: images // batch}


def divisors(number: int) -> list[int]:
    """List what divides a number, in rising order."""
    return [part for part in range(1, number + 1) if number % part == 0]


def batches(current: Settings, *, images: int, may_grow: bool) -> Iterator[Settings]:
    """Yield other ways to take the batch of a step: in parts, and where it may grow, larger ones.

    ``images`` is how many there are to train on.
    """
    whole = effective_batch(current)
    parts = [part for part in divisors(whole) if part != current[BATCH]]
    nearest = [part for part in parts if current[BATCH] / _SMALLEST_PART <= part]
    yield from (divided(whole, part) for part in reversed(nearest) if part > 1)  # batch normalisation needs two
    if may_grow:
        yield from (divided(size, size) for size in larger(whole, images=images))


def larger(batch: int, *, images: int) -> list[int]:
    """List the batches that are twice as large and so on, as far as there are images for them."""
    return [size for size in (batch * factor for factor in (2, 4, 8, _LARGEST)) if size <= images]


def step_axes(current: Settings, facts: Facts, *, images: int, may_grow: bool) -> list[Axis]:
    """List what can be varied of the step."""
    precisions = {"cuda": ("bf16", "fp16"), "cpu": ("fp32",)}.get(facts.device, ())
    if facts.device == "cuda" and facts.automatic != "bf16":
        precisions = ("fp16",)  # this GPU emulates bf16
    others = [each for each in dict.fromkeys((facts.automatic, *precisions)) if each != facts.precision]
    layouts = () if facts.device == "mps" else ({LAYOUT: not current[LAYOUT]},)  # MPS computes wrongly in one of them
    axes = [
        Axis("precision", "step", tuple({PRECISION: name} for name in others)),
        Axis("layout", "step", layouts),
        Axis("batch", "step", tuple(batches(current, images=images, may_grow=may_grow))),
    ]
    return [axis for axis in axes if axis.options]


def compile_axis(current: Settings, facts: Facts) -> Axis:
    """Return the axis of compilation, which takes the longest to measure."""
    modes: tuple[bool | str, ...] = () if current[COMPILE] or facts.device == "mps" else (True,)
    if modes and facts.device == "cuda" and not current[CHECKPOINTING]:
        modes = (True, "reduce-overhead")
    return Axis("compile", "step", tuple({COMPILE: mode} for mode in modes), least_seconds=_COMPILES)


def loader_axes(current: Settings, *, cores: int, workers: int, needed_mb: int, spare_mb: int) -> list[Axis]:
    """List what can be varied of the loader.

    ``workers`` are those there are now, ``needed_mb`` is what a cache of all images takes, ``spare_mb`` what memory
    it may take.
    """
    numbers = sorted({0, max(1, cores // 2), cores, min(2 * cores, 16)} - {workers})
    caches: list[Settings] = [{CACHE: "none"}] if current[CACHE] == "ram" else [{CACHE: "ram"}]
    if current[CACHE_MB] < needed_mb <= spare_mb:
        caches = [{CACHE: "ram", CACHE_MB: needed_mb}, *caches]
    return [
        Axis("workers", "loader", tuple({WORKERS: number} for number in numbers)),
        Axis("cache", "loader", tuple(caches)),
    ]


def without_fixed(axes: Sequence[Axis], fixed: Collection[str]) -> list[Axis]:
    """Leave out the options that would change a key in ``fixed``, and axes that have no other."""
    left = [
        replace(axis, options=tuple(option for option in axis.options if not set(option) & set(fixed))) for axis in axes
    ]
    return [axis for axis in left if axis.options]


def consequences(before: Settings, after: Settings, facts: Facts) -> list[str]:
    """Say what other settings change in the results of a training; nothing where it is speed alone."""
    said = []
    if before[SIZE] != after[SIZE]:
        said.append(f"images are trained on at {after[SIZE]}, {before[SIZE]} before: another training")
    if (size := effective_batch(after)) != (old := effective_batch(before)):
        said.append(f"a step is of {size} images, {old} before: another training; find its rate by segtrain lr_find")
    if after[BATCH] != before[BATCH] and facts.normalised:
        at_once = f"batch normalisation sees {after[BATCH]} images at a time, {before[BATCH]} before"
        said.append(f"{at_once}: scores may differ")
    if before[PRECISION] != after[PRECISION]:
        said.append(f"computes in {after[PRECISION]}, {facts.precision} before: scores may differ slightly")
    if before[LAYOUT] != after[LAYOUT]:
        said.append("another memory layout adds up in another order: rounding alone differs")
    if before[COMPILE] != after[COMPILE]:
        said.append("compiled code rounds otherwise: rounding alone differs")
    return said
