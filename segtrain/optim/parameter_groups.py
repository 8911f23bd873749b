"""Parameter groups of an optimizer, by learning rate and weight decay."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, encoder_lr_factor: float
) -> list[dict[str, Any]]:
    """Group parameters by learning rate (encoder or not) and weight decay (none for norms, biases, scalars).

    Frozen parameters are included: an optimizer skips those without a gradient, and some are unfrozen
    later. Each group carries ``base_lr``, which a schedule's factor multiplies.
    """
    # Groups in order of first appearance: the optimizer numbers its state by it, and checkpoints
    # hold that.
    sorted_out: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = encoder_lr_factor if name.startswith("encoder.") else 1.0
        decay = weight_decay if parameter.ndim > 1 else 0.0  # norms, biases and scalars have one axis at most
        sorted_out.setdefault((lr * factor, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": group_lr, "base_lr": group_lr, "weight_decay": decay}
        for (group_lr, decay), parameters in sorted_out.items()
    ]


def parameter_names(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the names of parameters in the order by which an optimizer's state dict numbers them."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in groups for parameter in group["params"]]


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to its ``base_lr`` times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
