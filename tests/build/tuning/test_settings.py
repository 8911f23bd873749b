"""What can be varied, and what it changes beside speed."""

from segtrain.build.tuning.settings import (
    Axis,
    Facts,
    batches,
    compile_axis,
    consequences,
    divided,
    effective_batch,
    loader_axes,
    step_axes,
    with_settings,
    without_fixed,
)

START = {
    "data.image_size": 64,
    "data.batch_size": 8,
    "trainer.grad_accum_steps": 2,
    "trainer.precision": "auto",
    "trainer.channels_last": True,
    "trainer.compile": False,
    "trainer.activation_checkpointing": False,
    "data.num_workers": "auto",
    "data.cache": "ram",
    "data.cache_mb": 1024,
}
CPU = Facts("cpu", "cpu (2 threads)", precision="bf16", automatic="bf16", normalised=True, threads=2)
GPU = Facts("cuda", "cuda", precision="bf16", automatic="bf16", normalised=True, threads=0)


def options(axes):
    return {axis.name: axis.options for axis in axes}


def test_a_batch_is_taken_in_other_parts_that_make_up_the_same_step():
    found = list(batches(START, images=1000, may_grow=False))
    assert [option["data.batch_size"] for option in found] == [16, 4, 2]
    assert {effective_batch({**START, **option}) for option in found} == {16}


def test_a_batch_that_no_number_divides_stays_whole():
    assert list(batches({**START, **divided(7, 7)}, images=1000, may_grow=False)) == []


def test_a_batch_may_grow_as_far_as_there_are_images_where_that_is_allowed():
    found = list(batches({**START, **divided(8, 8)}, images=40, may_grow=True))
    assert [option["data.batch_size"] for option in found] == [4, 2, 16, 32]
    assert [option["trainer.grad_accum_steps"] for option in found] == [2, 4, 1, 1]


def test_precisions_are_those_that_the_device_computes_in():
    def precisions(facts):
        axis = options(step_axes(START, facts, images=9, may_grow=False)).get("precision", ())
        return [option["trainer.precision"] for option in axis]

    assert precisions(CPU) == ["fp32"]
    assert precisions(Facts("cpu", "", "fp32", automatic="fp32", normalised=True, threads=2)) == []
    assert precisions(Facts("cpu", "", "fp32", automatic="bf16", normalised=True, threads=2)) == ["bf16"]
    assert precisions(GPU) == ["fp16"]
    assert precisions(Facts("cuda", "", "fp16", automatic="fp16", normalised=True, threads=0)) == []


def test_mps_keeps_the_layout_that_it_computes_rightly_in():
    mps = Facts("mps", "mps", precision="fp32", automatic="fp32", normalised=True, threads=0)
    assert "layout" not in options(step_axes(START, mps, images=9, may_grow=False))
    assert options(step_axes(START, CPU, images=9, may_grow=False))["layout"] == ({"trainer.channels_last": False},)


def test_compilation_is_tried_where_there_is_any():
    def modes(facts, **changed):
        return [option["trainer.compile"] for option in compile_axis({**START, **changed}, facts).options]

    assert modes(CPU) == [True]
    assert modes(GPU) == [True, "reduce-overhead"]
    assert modes(GPU, **{"trainer.activation_checkpointing": True}) == [True]
    assert modes(GPU, **{"trainer.compile": True}) == []


def test_workers_are_none_half_of_the_cores_all_and_twice_as_many():
    found = options(loader_axes(START, cores=4, workers=4, needed_mb=10, spare_mb=9000))
    assert [option["data.num_workers"] for option in found["workers"]] == [0, 2, 8]
    assert found["cache"] == ({"data.cache": "none"},)


def test_a_cache_that_is_too_small_may_grow_within_the_memory():
    def caches(spare):
        return options(loader_axes(START, cores=4, workers=4, needed_mb=3000, spare_mb=spare))["cache"]

    assert caches(4000) == ({"data.cache": "ram", "data.cache_mb": 3000}, {"data.cache": "none"})
    assert caches(2000) == ({"data.cache": "none"},)


def test_what_the_user_fixed_is_not_varied():
    axes = [Axis("a", "step", ({"x": 1}, {"y": 1, "z": 2})), Axis("b", "step", ({"x": 2},))]
    assert without_fixed(axes, {"x"}) == [Axis("a", "step", ({"y": 1, "z": 2},))]


def test_settings_change_a_copy_of_the_job():
    job = {"name": "a", "data": {"batch_size": 8, "root": "b"}}
    assert with_settings(job, {"data.batch_size": 4}) == {"name": "a", "data": {"batch_size": 4, "root": "b"}}
    assert job["data"]["batch_size"] == 8


def test_what_changes_results_is_said_and_what_does_not_is_not():
    def said(**changed):
        return consequences(START, {**START, **changed}, CPU)

    assert said(**{"data.num_workers": 0, "data.cache": "none"}) == []
    (parts,) = said(**divided(16, 4))
    assert parts.startswith("batch normalisation sees 4 images at a time, 8 before")
    grown, _ = said(**divided(32, 32))
    assert grown.startswith("a step is of 32 images, 16 before: another training")
    (precision,) = said(**{"trainer.precision": "fp32"})
    assert precision.startswith("computes in fp32, bf16 before")
    (layout,) = said(**{"trainer.channels_last": False})
    assert "rounding alone" in layout
    (compiled,) = said(**{"trainer.compile": True})
    assert "rounding alone" in compiled
    assert said(**{"trainer.activation_checkpointing": True}) == []
    (size,) = said(**{"data.image_size": 96})
    assert size.startswith("images are trained on at 96, 64 before")


def test_a_model_without_batch_normalisation_does_not_mind_parts():
    plain = Facts("cpu", "cpu", precision="bf16", automatic="bf16", normalised=False, threads=2)
    assert consequences(START, {**START, **divided(16, 4)}, plain) == []
