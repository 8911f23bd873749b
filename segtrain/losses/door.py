"""Checks at the entry of every loss function: task, target layout, ignored logits, full precision."""

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
    """Decorate a loss of logits, target and task: checked inputs in one layout, full precision, no autocast.

    Called with the name of a mode, as ``task`` or as ``mode``, the loss gets the task that the channels
    of the logits imply. `segtrain.task.door` describes the accepted targets and logits, and what is
    raised where they do not fit together.
    """
    exact = full_precision(loss)

    @wraps(loss)
    def at_the_door(
        logits: Tensor,
        target: Tensor,
        task: Task | Mode | None = None,  # None where mode= is given
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
    """Zero the logits of ignored pixels: an infinity or NaN there would spoil sums and gradients.

    On the CPU, where nothing waits for a device, logits that need nothing are returned without a copy:
    a look at the target, if that is the smaller one, and at the sum of the logits tells. A sum of
    finite logits that overflows costs the copy and nothing else.
    """
    if logits.is_cpu and not torch.compiler.is_compiling():
        if not task.classes_overlap and counts_everywhere(target, task):
            return logits
        total = logits.detach().sum(dtype=torch.float32).numpy()  # one pass, where isfinite would write a mask
        if math.isfinite(total):
            return logits
    return torch.where(task.valid(target), logits, 0)
