"""Full precision for losses, whatever precision the model ran in."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeAlias

import torch
from torch import Tensor

P = ParamSpec("P")


Loss: TypeAlias = Callable[Concatenate[Tensor, P], Tensor]


def full_precision(loss: Loss[P]) -> Loss[P]:
    """Run a loss outside autocast on logits of at least float32: sums over pixels overflow float16 beyond 65504."""

    @wraps(loss)
    def in_full_precision(logits: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            return loss(logits.to(torch.promote_types(logits.dtype, torch.float32)), *args, **kwargs)

    return in_full_precision
