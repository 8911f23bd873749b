"""Exponential moving average (EMA) of a model's weights, buffers included."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

M = TypeVar("M", bound=nn.Module)


class ModelEma(Generic[M]):
    """``average = decay * average + (1 - decay) * model`` after every optimizer step (Tarvainen and Valpola 2017).

    The decay warms up as ``(1 + step) / (10 + step)``, so that the random start is soon forgotten.
    Floating buffers (running statistics) are averaged as weights are; integer buffers are copied.
    Updates are grouped kernels without a device synchronisation.
    """

    def __init__(self, model: M, *, decay: float, copy: Callable[[M], M] = deepcopy) -> None:
        self.decay = decay
        self.module: M = copy(model)
        self.module.eval().requires_grad_(False)
        # Paired once: from here on both have to change in place, as `model.to` would replace buffers.
        self._pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the model; ``step`` counts the updates before this one."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        # Counters such as `num_batches_tracked` are integers, which have no mean.
        averaged = [(mine, theirs) for mine, theirs in self._pairs if mine.is_floating_point()]
        copied = [(mine, theirs) for mine, theirs in self._pairs if not mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in averaged], [theirs for _, theirs in averaged], weight)
        for mine, theirs in copied:
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights under the model's names."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load averaged weights in place."""
        self.module.load_state_dict(state)


def _tensors(model: nn.Module) -> list[Tensor]:
    tensors = model.state_dict(keep_vars=True).values()  # the tensors themselves, not detached aliases
    # of weights that are shared out, this rank's shard, in its memory: buffers are not, and no kernel takes both
    return [tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
