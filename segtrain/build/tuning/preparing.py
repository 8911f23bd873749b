"""From a checked config to a tuner: what may be varied, and what there is to measure on."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from segtrain.build.footprint import count_footprint
from segtrain.build.parts import checked_config, open_source
from segtrain.build.training import is_ours
from segtrain.build.tuning.fitting import ladder, own_size
from segtrain.build.tuning.machine import Machine
from segtrain.build.tuning.measure import Kind, to_pair
from segtrain.build.tuning.search import Budget
from segtrain.build.tuning.settings import ACCUMULATION, BATCH, SIZE, Settings, value_at, with_settings
from segtrain.build.tuning.tuner import KEYS, Surroundings, Tuner, Wishes
from segtrain.config.durations import seconds_of
from segtrain.config.overrides import Overrides
from segtrain.config.schema import TrainConfig, TuneConfig
from segtrain.data.sample import Source
from segtrain.runtime.capacity import available_memory
from segtrain.runtime.cores import reading_workers, usable_cores
from segtrain.runtime.device import make_runtime
from segtrain.task import make_task

UNITS = {"M": 2**20, "G": 2**30}
_GPU_SHARE = 0.9  # of a GPU's memory for tensors: the rest is CUDA's own, and lost in gaps
_MEASUREMENTS = 40  # that the time is divided among
_SHORTEST, _LONGEST = 0.2, 3.0  # seconds of one
_BYTES_A_PIXEL = 1000  # of a batch, where nothing can be computed: some U-Net in half precision


def prepare(options: TuneConfig, job: Mapping[str, Any], words: Overrides) -> tuple[Tuner, Settings]:
    """Return what tunes a composed training, and its settings as they are; what ``words`` set stays.

    Raises `SegtrainError` for mistakes in the config and in where the data lies.
    """
    config = checked_config(job)
    device = make_runtime(config.device, config.trainer.precision).device
    source = open_source(config, "train")
    kind = Kind.of(config, source)
    budget = Budget(seconds_of(options.time))
    machine = Machine(
        job,
        kind,
        seconds=min(_LONGEST, max(_SHORTEST, budget.left / _MEASUREMENTS)),
        left=lambda: budget.left,
        saves=options.memory is not None,
    )
    around = Surroundings(
        cores=usable_cores(),
        workers=reading_workers(),
        memory=available_memory() if device.type == "cpu" else math.inf,
        images=kind.count,
        sample_bytes=kind.sample_bytes,
        training=images_of(config, kind),
    )
    tuner = Tuner(
        machine,
        wishes(options, config, words, kind, source, on_gpu=device.type != "cpu"),
        around,
        budget=budget,
        estimate=estimate(job, config, kind),
    )
    return tuner, {key: value_at(job, key) for keys in KEYS.values() for key in keys}


def images_of(config: TrainConfig, kind: Kind) -> float:
    """Return how many images a whole training takes."""
    steps, step = config.trainer.max_steps, config.data.batch_size * config.trainer.grad_accum_steps
    return kind.count * config.trainer.epochs if steps is None else steps * step


def wishes(
    options: TuneConfig, config: TrainConfig, words: Overrides, kind: Kind, source: Source, *, on_gpu: bool
) -> Wishes:
    """Return what the user asks for: keys that they typed stay."""
    tuned = {key for keys in KEYS.values() for key in keys}
    fixed = {override.key_or_group for override in words if override.key_or_group in tuned}
    batch = {BATCH, ACCUMULATION}
    fixed = fixed - batch if options.batch == "larger" else fixed | batch if fixed & batch else fixed
    if kind.size is not None:  # images of their own size: the config's is not used
        fixed |= {SIZE}
    if options.memory is None:
        return Wishes(frozenset(fixed), options.batch == "larger", options.margin)
    given = float(options.memory[:-1]) * UNITS[options.memory[-1]] * (_GPU_SHARE if on_gpu else 1)
    sizes = () if SIZE in fixed else ladder(config.data.image_size, own_size(source))
    return Wishes(frozenset(fixed), options.batch == "larger", options.margin, given, tuple(sizes))


def estimate(job: Mapping[str, Any], config: TrainConfig, kind: Kind) -> Callable[[Settings], float]:
    """Return what computes the bytes that settings need, as `segtrain plan` does, or from the pixels of a batch."""
    channels = make_task(kind.mode, kind.class_names).out_channels

    @cache
    def computed(items: tuple[tuple[str, Any], ...]) -> float:
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in items}
        if kind.size is not None:
            settings[SIZE] = list(kind.size)
        changed = checked_config(with_settings(job, settings))
        height, width = to_pair(changed.data.image_size)
        if not is_ours(config):
            return changed.data.batch_size * height * width * _BYTES_A_PIXEL
        found = count_footprint(changed, out_channels=channels)
        kept = found.weights + found.buffers + found.gradients + found.optimizer + found.average
        return kept + found.copies + found.activations + found.passing

    def needed(settings: Settings) -> float:
        return computed(
            tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in settings.items())
        )

    return needed
