"""What holds for every loss in configs/loss, in every mode."""

import inspect
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from segtrain.task import Task
from tests.waits import CountWaits

FOLDER = Path(__file__).parents[2] / "configs" / "loss"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NEEDED = {"sum": ["terms.dice.weight=0.5", "terms.focal.weight=2"]}
SEES_NEIGHBOURS = {"boundary", "cldice"}
"""A pixel costs by what is around it: without the ignored pixels the image has other edges."""
WITH_DICE = {"segtrain.losses.BoundaryLoss", "segtrain.losses.CLDiceLoss"}
"""Mixed with Dice by alpha, and on their own in a sum, where Dice is a term."""


@cache
def node_of(name: str) -> dict[str, Any]:
    with initialize_config_dir(config_dir=str(FOLDER), version_base="1.3"):
        return OmegaConf.to_container(compose(name, overrides=NEEDED.get(name, [])))


def build(node: Any, task: Task) -> Any:
    if not isinstance(node, dict):
        return node
    options = {key: build(value, task) for key, value in node.items() if key != "_target_"}
    return locate(node["_target_"])(task, **options) if "_target_" in node else options


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [leaf for value in node.values() if isinstance(value, dict) for leaf in leaves(value)]
    return inner + ([node] if "_target_" in node and "terms" not in node else [])


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def loss(name, case) -> nn.Module:
    return build(node_of(name), case.task)


def value_and_grad(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


def test_every_loss_was_found():
    alone = {"bce", "boundary", "cldice", "cross_entropy", "dice", "focal", "focal_tversky", "jaccard", "lovasz", "mcc"}
    sums = {"bce_dice", "ce_dice", "focal_dice", "lovasz_ce", "sum"}
    assert set(NAMES) >= alone | sums | {"ohem", "tversky"}


def test_a_sum_can_have_every_loss_as_a_term():
    sums = {name for name in NAMES if "terms" in node_of(name)}
    assert len(sums) >= 5
    assert set(node_of("sum")["terms"]) == set(NAMES) - sums


def test_the_yaml_lists_every_option_with_its_default(name):
    found = leaves(node_of(name))
    assert found
    for leaf in found:
        parameters = inspect.signature(locate(leaf["_target_"])).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "pixel_counts"}
        if name == "sum" and leaf["_target_"] in WITH_DICE:
            defaults["alpha"] = 1.0
        assert {key: value for key, value in leaf.items() if key != "_target_"} == defaults


def test_the_loss_is_a_finite_scalar_with_a_gradient(loss, case):
    value, grad = value_and_grad(loss, case.logits, case.target)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value > 0
    assert grad.isfinite().all()
    assert grad.abs().sum() > 0


def test_ignored_pixels_do_not_count(loss, case):
    value, grad = value_and_grad(loss, case.logits, case.target)
    changed = case.logits.clone()
    changed[..., 0] = 50.0
    value_changed, grad_changed = value_and_grad(loss, changed, case.target)
    assert value_changed == value
    assert torch.equal(grad_changed, grad)
    assert (grad[..., 0] == 0).all()


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_ignored_pixels_do_not_count_whatever_stands_there(loss, case, number, dtype):
    logits = case.logits.to(dtype)
    value, grad = value_and_grad(loss, logits, case.target)
    logits[..., 0] = number  # the column that is ignored
    changed_value, changed_grad = value_and_grad(loss, logits, case.target)
    assert changed_value == value
    assert torch.equal(changed_grad, grad)
    assert (changed_grad[..., 0] == 0).all()
    assert changed_grad.abs().sum() > 0


def test_of_what_is_infinite_one_channel_is_enough_to_be_left_out(loss, case):
    value, grad = value_and_grad(loss, case.logits, case.target)
    case.logits[0, -1, 0, 0], case.logits[1, 0, 1, 0] = math.inf, -math.inf  # whose sum is NaN
    changed_value, changed_grad = value_and_grad(loss, case.logits, case.target)
    assert changed_value == value
    assert torch.equal(changed_grad, grad)


def test_what_is_not_finite_at_a_pixel_that_counts_is_not_hidden(loss, case):
    case.logits[..., 1] = math.nan
    assert loss(case.logits, case.target).isnan()


@pytest.mark.parametrize("name", sorted(set(NAMES) - SEES_NEIGHBOURS), indirect=True)
def test_ignored_pixels_are_as_if_cut_off(loss, case):
    torch.testing.assert_close(loss(case.logits, case.target), loss(case.logits[..., 1:], case.target[..., 1:]))


def test_a_batch_that_is_all_ignored_costs_nothing(loss, case):
    value, grad = value_and_grad(loss, case.logits, torch.full_like(case.target, case.task.ignore_index))
    assert value == 0
    assert (grad == 0).all()


def test_the_right_answer_costs_next_to_nothing(loss, case):
    assert loss(case.layout * 30, case.target) < 1e-5


def test_the_loss_falls_on_the_way_to_the_right_answer(loss, case):
    values = [loss(case.logits.lerp(case.layout, step), case.target).item() for step in (0, 0.25, 0.5, 0.75, 1)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


def test_false_alarms_on_an_empty_mask_cost_and_are_pushed_down(loss, case):
    absent = case.logits[:, -1:] * 0
    target = torch.zeros_like(case.target)
    flat = torch.cat([case.logits[:, :-1] * 0, absent], 1)
    raised = torch.cat([flat[:, :-1], absent + 3], 1)
    assert loss(raised, target) > loss(flat, target) + 0.05
    _, grad = value_and_grad(loss, flat, target)
    assert (grad[:, -1] > 0).all()


def test_every_image_without_a_class_still_teaches(loss, case):
    target = torch.where(case.target == case.task.num_labels - 1, 0, case.target)
    value, grad = value_and_grad(loss, case.logits, target)
    assert value.isfinite()
    assert grad.isfinite().all()
    right = case.task.one_hot(target, case.logits) * 60 - 30
    assert loss(right, target) < 1e-5 < loss(-right, target)


def test_weights_can_be_given_to_every_loss_by_name_or_scheme(name, case):
    names = case.task.label_names
    by_name = {label: float(i + 1) for i, label in enumerate(names)}
    for weights in (by_name, list(by_name.values()), "auto"):
        counts = [100 * (i + 1) for i, _ in enumerate(names)]
        node = with_options(node_of(name), class_weights=weights, pixel_counts=counts)
        value, grad = value_and_grad(build(node, case.task), case.logits, case.target)
        assert value > 0
        assert grad.isfinite().all()


def with_options(node: Any, **options: Any) -> Any:
    """Give these options to every loss in a node."""
    if not isinstance(node, dict):
        return node
    own = options if "_target_" in node and "terms" not in node else {}
    return {**{key: with_options(value, **options) for key, value in node.items()}, **own}


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_what_stands_for_other_classes_does_not_matter_to_a_subset(name, case):
    """Which of the others a pixel belongs to; for classes that overlap, whether it does and what is predicted."""
    chosen = case.task.class_names.index("cat")
    subset = build(with_options(node_of(name), classes=["cat"]), case.task)
    value, grad = value_and_grad(subset, case.logits, case.target)
    logits, target = case.logits.clone(), case.target.clone()
    if case.task.mode == "multiclass":
        others = (target != chosen) & (target != case.task.ignore_index)
        target[others] = 2 - target[others]  # sky and dog change places
    else:
        target[:, 1] = (target[:, 1] == 0).long()
        logits[:, 1].neg_()
    changed_value, changed_grad = value_and_grad(subset, logits, target)
    torch.testing.assert_close(changed_value, value)
    torch.testing.assert_close(changed_grad, grad)
    assert grad[:, chosen].any()
    whole = build(node_of(name), case.task)
    assert abs(whole(logits, target) - whole(case.logits, case.target)) > 1e-3


@pytest.mark.parametrize("mode", ["binary"])
def test_a_subset_of_the_only_class_is_the_whole(name, case):
    subset = build(with_options(node_of(name), classes=["cat"]), case.task)
    assert subset(case.logits, case.target) == build(node_of(name), case.task)(case.logits, case.target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_half_precision_logits_stay_finite(loss, case, dtype, sign):
    value, grad = value_and_grad(loss, (case.layout * sign * 1e4).to(dtype), case.target)
    assert value.isfinite()
    assert grad.isfinite().all()


LOG_FORMS = [name for name in NAMES if "log" in node_of(name)]


def test_the_losses_with_a_log_form_were_found():
    assert LOG_FORMS == ["cldice", "dice", "focal_tversky", "jaccard", "tversky"]


@pytest.mark.parametrize("name", LOG_FORMS, indirect=True)
def test_the_log_form_falls_on_the_way_to_the_right_answer(name, case):
    loss = build(with_options(node_of(name), log=True), case.task)
    steps = [case.logits.lerp(case.layout, step) for step in (0, 0.25, 0.5, 0.75, 1)]
    values = [loss(logits, case.target).item() for logits in steps]
    assert values == sorted(values, reverse=True)
    assert values[0] > build(node_of(name), case.task)(steps[0], case.target)  # -log x > 1 - x


@pytest.mark.parametrize("name", LOG_FORMS, indirect=True)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_log_form_stays_finite_where_logits_are_saturated(name, case, sign):
    loss = build(with_options(node_of(name), log=True), case.task)
    value, grad = value_and_grad(loss, (case.layout * sign * 1e4).half(), case.target)
    assert value.isfinite()
    assert grad.isfinite().all()


def test_autocast_does_not_reach_the_loss(loss, case):
    half = case.logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, case.target)
    assert value.dtype == torch.float32
    assert value == loss(half.float(), case.target)


def test_the_gradient_is_that_of_the_value(loss, case):
    logits = case.logits[:2, :, :3, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, case.target[:2, ..., :3, :3]), logits)


def test_the_memory_format_does_not_matter(loss, case):
    value, grad = value_and_grad(loss, case.logits, case.target)
    last_value, last_grad = value_and_grad(loss, case.logits.contiguous(memory_format=torch.channels_last), case.target)
    torch.testing.assert_close(last_value, value)
    torch.testing.assert_close(last_grad, grad)


def test_a_step_never_waits_for_the_device(loss, case):
    with CountWaits() as counted:
        value_and_grad(loss, case.logits, case.target)
    assert counted.waits == 0


def test_logits_and_target_stay_as_they_were(loss, case):
    """The other terms of a sum and the metrics get them too."""
    logits, target = case.logits.clone(), case.target.clone()
    loss(logits, target)
    assert torch.equal(logits, case.logits)
    assert torch.equal(target, case.target)


def test_targets_need_not_be_contiguous(loss, case):
    turned = case.target.mT.contiguous().mT
    assert not turned.is_contiguous()
    torch.testing.assert_close(loss(case.logits, turned), loss(case.logits, case.target))


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
def test_the_smallest_images_are_scored(name, mode, make_case, size):
    case = make_case(mode, ignored=False, size=size, images=1)
    value, grad = value_and_grad(build(node_of(name), case.task), case.logits, case.target)
    assert value.isfinite()
    assert grad.isfinite().all()


def compiled_value_and_grad(loss: nn.Module, case: Any, **options: Any) -> tuple[Tensor, Tensor]:
    torch._dynamo.reset()
    compiled: Callable[..., Tensor] = torch.compile(loss, fullgraph=True, **options)
    return value_and_grad(compiled, case.logits, case.target)


def assert_unchanged_by_compilation(loss: nn.Module, case: Any, **options: Any) -> None:
    value, grad = value_and_grad(loss, case.logits, case.target)
    compiled_value, compiled_grad = compiled_value_and_grad(loss, case, **options)
    torch.testing.assert_close(compiled_value, value)
    torch.testing.assert_close(compiled_grad, grad)


def test_it_is_traced_as_one_graph(loss, case):
    assert_unchanged_by_compilation(loss, case, backend="eager")


def test_ignored_pixels_do_not_count_in_a_graph_whatever_stands_there(loss, case):
    value, grad = value_and_grad(loss, case.logits, case.target)
    case.logits[..., 0] = math.inf
    found_value, found_grad = compiled_value_and_grad(loss, case, backend="eager")
    torch.testing.assert_close(found_value, value)
    torch.testing.assert_close(found_grad, grad)


@pytest.mark.slow
def test_compiled_code_agrees(loss, case):
    assert_unchanged_by_compilation(loss, case)
