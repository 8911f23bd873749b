"""The order of a tuning and what it chooses, on a machine that is made up."""

import math

import pytest

from segtrain.build.tuning.search import Budget, Measured
from segtrain.build.tuning.settings import Facts, effective_batch
from segtrain.build.tuning.tuner import Surroundings, Tuner, Wishes
from segtrain.errors import ConfigError, ShortOfMemoryError

START = {
    "data.image_size": 64,
    "data.batch_size": 8,
    "trainer.grad_accum_steps": 1,
    "trainer.precision": "auto",
    "trainer.channels_last": True,
    "trainer.compile": False,
    "trainer.activation_checkpointing": False,
    "data.num_workers": 0,
    "data.cache": "ram",
    "data.cache_mb": 1024,
}
GIB = 2**30


def kept(settings):
    return 512 if settings["trainer.activation_checkpointing"] else 1024


class Made:
    """A machine: its step is quickest at 4 images at a time, its loader gains by workers; a pixel takes a KiB.

    Where blocks run again it takes half a KiB, and a third more time; compiled, a step takes half of its time.
    """

    def __init__(self, *, device="cpu", loads=100.0, memory=math.inf, compiles=30.0):
        self.device, self.loads, self.memory, self.compiles = device, loads, memory, compiles
        self.facts, self.steps, self.loaders, self.brief = None, [], [], 0

    def step(self, settings, *, brief=False):
        self.steps.append(settings)
        self.brief += brief
        peak = GIB // 2 + settings["data.batch_size"] * settings["data.image_size"] ** 2 * kept(settings)
        if peak > self.memory:
            return Measured(problem="out of memory", seconds=1)
        self.facts = Facts(
            self.device, self.device, "bf16", "bf16", normalised=True, threads=2 * (self.device == "cpu")
        )
        rate = 50.0 * (1.2 if settings["data.batch_size"] == 4 else 1)
        rate *= (0.5 if settings["trainer.precision"] == "fp32" else 1) * (
            1 if settings["trainer.channels_last"] else 0.9
        )
        rate *= (0.75 if settings["trainer.activation_checkpointing"] else 1) * (
            2 if settings["trainer.compile"] else 1
        )
        return Measured(rate, peak, seconds=1, startup=self.compiles if settings["trainer.compile"] else 0)

    def loader(self, settings):
        self.loaders.append(settings)
        return Measured(self.loads * max(1, min(2, settings["data.num_workers"])), GIB, seconds=1)


def tuner(made, *, around=math.inf, seconds=1000, training=1000, **wishes):
    return Tuner(
        made,
        Wishes(**{"fixed": frozenset(), "may_grow": False, "margin": 0.03, **wishes}),
        Surroundings(cores=2, workers=2, memory=around, images=100, sample_bytes=1000, training=training),
        budget=Budget(seconds),
        estimate=lambda settings: settings["data.batch_size"] * settings["data.image_size"] ** 2 * kept(settings),
    )


def changed(made, **options):
    after = tuner(made, **options).tune(START)
    return {key: value for key, value in after.items() if value != START[key]}


def test_both_parts_are_tuned_and_the_batch_of_a_step_stays():
    assert changed(Made()) == {"data.batch_size": 4, "trainer.grad_accum_steps": 2, "data.num_workers": 1}


def test_the_part_that_bounds_is_tuned_first():
    slow_loader = Made(loads=0.5)
    changed(slow_loader)
    assert len(slow_loader.steps) == 1  # a fiftieth of the time, once there are workers: nothing to gain there
    assert len(slow_loader.loaders) > 4
    slow_step = Made(loads=1e6)
    changed(slow_step)
    assert len(slow_step.loaders) == 1
    assert len(slow_step.steps) > 4


def test_what_the_user_set_stays():
    fixed = frozenset({"data.batch_size", "trainer.grad_accum_steps", "data.num_workers"})
    made = Made()
    assert changed(made, fixed=fixed) == {}
    assert {settings["data.batch_size"] for settings in made.steps} == {8}
    assert {settings["data.num_workers"] for settings in made.loaders} == {0}


def test_where_the_batch_is_too_large_less_of_it_is_kept_and_then_it_is_taken_in_parts():
    room_for = {images: GIB // 2 + images * 64**2 * 1024 for images in (2, 4)}
    assert changed(Made(memory=room_for[4]))["trainer.activation_checkpointing"] is True
    after = changed(Made(memory=room_for[2]))
    assert (after["data.batch_size"], after["trainer.grad_accum_steps"]) == (2, 4)
    fixed = frozenset({"trainer.activation_checkpointing"})
    assert changed(Made(memory=room_for[4]), fixed=fixed)["data.batch_size"] == 4


def test_blocks_are_compiled_where_the_training_is_long_enough_to_pay_for_it():
    short = Made()  # 1000 images at 60 a second
    assert "trainer.compile" not in changed(short)
    assert any(settings["trainer.compile"] for settings in short.steps)
    assert changed(Made(), training=100_000)["trainer.compile"] is True
    hasty = Made()
    changed(hasty, training=100_000, seconds=15)
    assert not any(settings["trainer.compile"] for settings in hasty.steps)


def test_where_nothing_fits_it_is_said_in_a_line():
    with pytest.raises(ShortOfMemoryError, match=r"^data\.batch_size=1: out of memory; set a smaller"):
        changed(Made(memory=1000))


def test_a_memory_chooses_the_largest_images_and_then_the_most_at_a_time():
    made = Made()
    limit = GIB // 2 + 4 * 200**2 * 1024  # four of 192 and none of 224
    as_it_is = frozenset({"trainer.activation_checkpointing"})
    found = tuner(made, memory=limit, sizes=tuple(range(32, 513, 32)), fixed=as_it_is)
    after = found.tune(START)
    assert (after["data.image_size"], after["data.batch_size"]) == (192, 4)
    assert effective_batch(after) == 8
    assert all(
        row.problem is None or row.peak > limit or "fp32" in str(row.settings) for row in found.searches["step"].rows
    )
    assert made.brief <= 5
    more = tuner(Made(), memory=GIB // 2 + 9 * 512**2 * 1024, sizes=tuple(range(32, 513, 32))).tune(START)
    assert (more["data.image_size"], more["data.batch_size"]) == (512, 8)


def test_blocks_run_again_where_larger_images_fit_by_that():
    limit = GIB // 2 + 4 * 200**2 * 1024  # four of 192, of 256 (of 282) with half of it kept
    found = tuner(Made(), memory=limit, sizes=tuple(range(32, 513, 32)))
    after = found.tune(START)
    assert (after["data.image_size"], after["data.batch_size"]) == (256, 4)
    assert after["trainer.activation_checkpointing"] is True
    plenty = tuner(Made(), memory=limit, sizes=(32, 64)).tune(START)
    assert plenty["trainer.activation_checkpointing"] is False


def test_a_memory_that_is_too_small_for_anything_is_the_user_s_mistake():
    with pytest.raises(ConfigError, match=r"^memory: 4 images of 32 pixels .* too much \(0\.50 GiB\)"):
        changed(Made(), memory=1000.0, sizes=(32, 64))


def test_the_batch_may_grow_where_that_is_allowed_as_far_as_memory_lets_it():
    limit = GIB // 2 + 16 * 64**2 * 1024
    after = tuner(Made(), memory=limit, sizes=(32, 64), may_grow=True).tune(START)
    assert (after["data.image_size"], after["data.batch_size"], after["trainer.grad_accum_steps"]) == (64, 16, 1)


def test_on_a_gpu_a_loader_that_is_quick_enough_is_left_alone():
    made = Made(device="cuda", loads=1000.0)
    start = {**START, "data.num_workers": 2}
    assert tuner(made).tune(start)["data.num_workers"] == 2
    assert len(made.loaders) == 1
