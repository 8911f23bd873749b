"""Schedule-free AdamW: an average of the weights takes the place of a falling learning rate."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from segtrain.errors import ConfigError
from segtrain.optim.ema import ModelEma
from segtrain.optim.schedules import Constant, Schedule

M = TypeVar("M", bound=nn.Module)
_MODE = "train_mode"  # of the package's parameter groups


def schedule_free_adamw(
    params: Any,
    *,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Optimizer:
    """Build the AdamW of the package ``schedulefree`` (Defazio et al. 2024, "The Road Less Scheduled").

    ``r`` and ``weight_lr_power`` weight the average towards late steps, and towards those of a high learning rate. The
    optimizer stays in its training mode: gradients are taken at the weights that the model has, and
    `ScheduleFreeAverage` computes those to score. Raises `ConfigError` where the package is missing.
    """
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError:
        raise ConfigError(
            "optimizer=schedule_free: needs the package schedulefree; pip install 'segtrain[schedulefree]'"
        ) from None
    if not 0 < betas[0] < 1:  # the average is found by dividing by it
        raise ConfigError(f"optimizer.betas: expected the first between 0 and 1, got {list(betas)}")
    optimizer: Optimizer = AdamWScheduleFree(
        params, lr=lr, weight_decay=weight_decay, betas=betas, r=r, weight_lr_power=weight_lr_power
    )
    for group in optimizer.param_groups:
        group[_MODE] = True
    return optimizer


def is_schedule_free(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer averages the weights itself."""
    return all(_MODE in group for group in optimizer.param_groups)


def refuse_with_schedule_free(optimizer: Optimizer, schedule: Schedule, *, ema_decay: float | None) -> None:
    """Raise `ConfigError` for what a schedule-free optimizer replaces: a falling learning rate, and the EMA."""
    if not is_schedule_free(optimizer):
        return
    if type(schedule) is not Constant:
        raise ConfigError(
            f"scheduler: {type(schedule).__name__} lets the learning rate fall, which optimizer=schedule_free is made "
            "to do without; add scheduler=constant scheduler.warmup=0.05"
        )
    if ema_decay:
        raise ConfigError(
            "trainer.ema_decay: optimizer=schedule_free averages the weights already; set trainer.ema_decay=null"
        )


class ScheduleFreeAverage(Generic[M]):
    """The averaged weights ``x`` of a schedule-free optimizer, in place of the EMA: they are what is scored and used.

    The model keeps ``y``, where gradients are taken, and the optimizer ``z``, with ``y = beta1 * x + (1 - beta1) * z``
    (equation 1 of the paper). So a checkpoint holds ``y`` and ``z`` as they are, and a resumed run goes on exactly:
    switching the package's optimizer between its two modes would round the weights each time.
    """

    def __init__(self, model: M, optimizer: Optimizer, *, copy: Callable[[M], M] = deepcopy) -> None:
        self._model, self._optimizer = model, optimizer
        self._module: M = copy(model)
        self._module.eval().requires_grad_(False)

    @property
    def module(self) -> M:
        """A copy of the model with the averaged weights of now, and its running statistics."""
        with torch.no_grad():
            self._module.load_state_dict(self._model.state_dict())
            averaged = dict(zip(self._model.parameters(), self._module.parameters(), strict=True))
            for group in self._optimizer.param_groups:
                known = [one for one in group["params"] if "z" in self._optimizer.state.get(one, ())]
                ends: list[Tensor] = [self._optimizer.state[one]["z"] for one in known]
                if known:
                    torch._foreach_lerp_([averaged[one] for one in known], ends, 1 - 1 / group["betas"][0])
        return self._module

    def update(self, step: int) -> None:
        """Do nothing: the optimizer averages."""

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights under the model's names."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: model and optimizer hold what the average is made of."""


def averaged(
    model: M, optimizer: Optimizer, *, ema_decay: float | None, copy: Callable[[M], M] = deepcopy
) -> ModelEma[M] | ScheduleFreeAverage[M] | None:
    """Return the average of a model's weights that is scored and used, if it is not the model itself."""
    if is_schedule_free(optimizer):
        return ScheduleFreeAverage(model, optimizer, copy=copy)
    return ModelEma(model, decay=ema_decay, copy=copy) if ema_decay else None
