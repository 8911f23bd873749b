"""The door of every loss function: what it is given is laid out as its task says, and computed in full precision."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeAlias, cast

import torch
from torch import Tensor

from segtrain.losses.precision import full_precision
from segtrain.task import Mode, Task, counts_everywhere, lay_out, task_of_logits

P = ParamSpec("P")

OfTask: TypeAlias = Callable[Concatenate[Tensor, Tensor, Task, P], Tensor]
OfTaskOrMode: TypeAlias = Callable[Concatenate[Tensor, Tensor, Task | Mode, P], Tensor]


def loss_function(loss: OfTask[P]) -> OfTaskOrMode[P]:
    """Let a loss of logits, target and task see them in one layout only, in full precision and outside autocast.

    Called with the name of a mode, as ``task`` or as ``mode``, it makes the task from the channels of the logits. What
    target and logits may look like, and what is raised where they do not belong together, is in `segtrain.task.door`.
    """
    exact = full_precision(loss)

    @wraps(loss)
    def at_the_door(
        logits: Tensor,
        target: Tensor,
        task: Task | Mode | None = None,  # None beside mode=
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Tensor:
        known = task_of_logits(task, kwargs.pop("mode", None), logits)  # type: ignore[arg-type]
        target = lay_out(target, logits, known)
        if not logits.is_floating_point():
            raise ValueError(f"logits are {logits.dtype}, expected floats, as a model gives them")
        return exact(_blank(logits, target, known), target, known, *args, **kwargs)

    return cast("OfTaskOrMode[P]", at_the_door)  # typed by position; by name, at run time, `task` and `mode` go too


def _blank(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """Put 0 where the target is ignored, as what is infinite or NaN there would spoil sums and gradients.

    On the CPU, where nothing waits, a look at the target, if that is the smaller one, and at the sum of the logits
    saves a copy of logits that need nothing; a sum of finite ones that overflows costs that copy alone.
    """
    if logits.is_cpu and not torch.compiler.is_compiling():
        if not task.classes_overlap and counts_everywhere(target, task):
            return logits
        if math.isfinite(logits.detach().sum(dtype=torch.float32).numpy()):
            return logits
    return torch.where(task.valid(target), logits, 0)
