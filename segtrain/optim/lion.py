"""Lion, an optimizer that moves every weight by the same amount, in the direction of its momentum's sign."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from segtrain.errors import ConfigError


class Lion(Optimizer):
    """EvoLved Sign Momentum (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Program 1).

    With the gradient ``g`` and its moving average ``m``::

        weight -= lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * weight)
        m = beta2 * m + (1 - beta2) * g

    It keeps one number for each weight, where Adam keeps two. As every update is of size ``lr``, the paper sets ``lr``
    3 to 10 times lower than for AdamW, and ``weight_decay`` as many times higher. Steps are grouped kernels, without a
    device synchronisation. Raises `ConfigError` for betas out of range.
    """

    def __init__(
        self, params: Any, *, lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"optimizer.betas: expected two numbers from 0 to below 1, got {list(betas)}")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": tuple(betas)})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one step; a ``closure`` is none of Lion's, which calls its gradients once."""
        assert closure is None
        for group in self.param_groups:
            weights: list[Tensor] = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                averages = [self._average_of(weight) for weight in weights]
                gradients: list[Tensor] = [weight.grad for weight in weights if weight.grad is not None]
                _move(weights, gradients, averages, group)

    def _average_of(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        average: Tensor = state["exp_avg"]
        return average


def _move(weights: list[Tensor], gradients: list[Tensor], averages: list[Tensor], group: dict[str, Any]) -> None:
    lr, (beta1, beta2) = group["lr"], group["betas"]
    directions = torch._foreach_lerp(averages, gradients, 1 - beta1)
    torch._foreach_sign_(directions)
    torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
    torch._foreach_add_(weights, directions, alpha=-lr)
    torch._foreach_lerp_(averages, gradients, 1 - beta2)
