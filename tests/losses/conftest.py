"""Random logits and targets in each of the three modes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from torch import Tensor

from segtrain.task import Mode, Task, make_task

CLASSES: dict[Mode, tuple[str, ...]] = {
    "binary": ("cat",),
    "multiclass": ("sky", "cat", "dog"),
    "multilabel": ("cat", "dog"),
}


@dataclass
class Case:
    task: Task
    logits: Tensor  # (N, out_channels, H, W)
    target: Tensor

    @property
    def layout(self) -> Tensor:
        """+1 where a channel's class is true, -1 elsewhere: logits that are right."""
        return self.task.one_hot(self.target, self.logits) * 2 - 1


@pytest.fixture
def make_case() -> Callable[..., Case]:
    def make(mode: Mode, *, ignored: bool = True, size: tuple[int, int] = (6, 5), images: int = 3) -> Case:
        generator = torch.Generator().manual_seed(len(mode))
        task = make_task(mode, CLASSES[mode])
        logits = torch.randn(images, task.out_channels, *size, generator=generator)
        shape = (images, *((task.out_channels,) if mode == "multilabel" else ()), *size)
        target = torch.randint(0, task.num_labels, shape, generator=generator)
        if ignored:
            target[..., 0] = task.ignore_index
        return Case(task, logits, target)

    return make


@pytest.fixture
def value_and_grad() -> Callable[..., tuple[Tensor, Tensor]]:
    """Compute a loss and its gradient: ``value_and_grad(loss, logits, target)``."""

    def compute(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.detach().clone().requires_grad_()
        value = loss(logits, target)
        value.backward()
        return value.detach(), logits.grad

    return compute


@pytest.fixture(params=get_args(Mode))
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture
def case(mode: Mode, make_case: Callable[..., Case]) -> Case:
    return make_case(mode)


@pytest.fixture
def full_case(mode: Mode, make_case: Callable[..., Case]) -> Case:
    """Without ignored pixels, which the reference implementations treat in other ways."""
    return make_case(mode, ignored=False)
