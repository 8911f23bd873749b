"""Parameter groups of an optimizer: learning rates and weight decay."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, encoder_lr_factor: float
) -> list[dict[str, Any]]:
    """Split parameters by learning rate (encoder or not) and decay (weights; not norm, bias, scalars).

    Those that are frozen are among them: an optimizer passes over what has no gradient, and some thaw later. Each group
    carries ``base_lr``, which a schedule's factor multiplies.
    """
    sorted_out: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = encoder_lr_factor if name.startswith("encoder.") else 1.0
        decay = weight_decay if parameter.ndim > 1 else 0.0
        sorted_out.setdefault((lr * factor, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": group_lr, "base_lr": group_lr, "weight_decay": decay}
        for (group_lr, decay), parameters in sorted_out.items()
    ]


def parameter_names(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the parameters of an optimizer's groups in their order, by which its state dict numbers them."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in groups for parameter in group["params"]]


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to its ``base_lr`` times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
