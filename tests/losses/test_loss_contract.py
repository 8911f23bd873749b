"""What holds for every loss in configs/loss, in every mode."""

import inspect
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.profiler import profile

from segtrain.task import Task

FILES = sorted((Path(__file__).parents[2] / "configs" / "loss").glob("*.yaml"))
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::item", "aten::is_nonzero"}


def build(node: Any, task: Task) -> Any:
    if not isinstance(node, dict):
        return node
    options = {key: build(value, task) for key, value in node.items() if key != "_target_"}
    return locate(node["_target_"])(task, **options) if "_target_" in node else options


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [leaf for value in node.values() if isinstance(value, dict) for leaf in leaves(value)]
    return inner + ([node] if "_target_" in node and "terms" not in node else [])


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def loss(request, case) -> nn.Module:
    return build(yaml.safe_load(request.param.read_text()), case.task)


def value_and_grad(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


def test_every_loss_was_found():
    expected = ["bce", "bce_dice", "ce_dice", "cross_entropy", "dice", "focal", "jaccard"]
    assert [path.stem for path in FILES] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_yaml_lists_every_option_with_its_default(path):
    found = leaves(yaml.safe_load(path.read_text()))
    assert found
    for leaf in found:
        parameters = inspect.signature(locate(leaf.pop("_target_"))).parameters.values()
        assert leaf == {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


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


def test_ignored_pixels_are_as_if_cut_off(loss, case):
    torch.testing.assert_close(loss(case.logits, case.target), loss(case.logits[..., 1:], case.target[..., 1:]))


def test_a_batch_that_is_all_ignored_costs_nothing(loss, case):
    value, grad = value_and_grad(loss, case.logits, torch.full_like(case.target, case.task.ignore_index))
    assert value == 0
    assert (grad == 0).all()


def test_the_right_answer_costs_next_to_nothing(loss, case):
    assert loss(case.layout * 30, case.target) < 1e-5


def test_the_loss_falls_on_the_way_to_the_right_answer(loss, case):
    values = [loss(case.logits.lerp(case.layout * 10, step), case.target).item() for step in (0, 0.25, 0.5, 0.75, 1)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_half_precision_logits_stay_finite(loss, case, dtype, sign):
    value, grad = value_and_grad(loss, (case.layout * sign * 1e4).to(dtype), case.target)
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
    with profile() as record:
        value_and_grad(loss, case.logits, case.target)
    called = {event.key for event in record.key_averages()}
    assert "aten::sum" in called
    assert not called & WAITS
