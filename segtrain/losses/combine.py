"""Weighted sum of losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segtrain.errors import ConfigError
from segtrain.losses.class_weights import ClassWeights
from segtrain.losses.options import check_range
from segtrain.task import Mode, Task, find_task


class WeightedSum(nn.Module):
    """The sum of ``weight * loss`` over named terms, each a mapping of ``weight`` (float) and ``loss`` (module).

    Terms of weight 0 are left out. After a forward pass ``last_terms`` holds each term's unweighted
    value, detached and on its device. In a config ``classes`` and ``class_weights`` are the defaults
    of all terms, and `segtrain.build.parts` builds the terms with them; here the terms exist already,
    so giving them raises ConfigError.
    """

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        terms: Mapping[str, Mapping[str, Any]],
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__()
        self.task = find_task(task, mode)
        for option, value in (("classes", classes), ("class_weights", class_weights)):
            if value is not None:
                raise ConfigError(f"loss.{option}: the terms are made already, expected null; give it to each of them")
        for name, term in terms.items():
            _check_term(name, term)
        self.weights = {name: float(term["weight"]) for name, term in terms.items() if term["weight"] > 0}
        if not self.weights:
            remedy = f"set loss.terms.{next(iter(terms))}.weight=1" if terms else "set loss=dice"
            raise ConfigError(f"loss.terms: no term has a weight, expected at least one above 0; {remedy}")
        self.losses = nn.ModuleDict({name: terms[name]["loss"] for name in self.weights})
        self.last_terms: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        terms: dict[str, Tensor] = {name: loss(logits, target) for name, loss in self.losses.items()}
        # Tensors, not floats: `item()` would wait for the device at every step.
        self.last_terms = {name: value.detach() for name, value in terms.items()}
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()


def _check_term(name: str, term: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a term holds a loss and a weight of at least 0."""
    if set(term) != {"weight", "loss"}:
        raise ConfigError(
            f"loss.terms.{name}: holds {', '.join(term) or 'nothing'}, expected weight and loss; "
            f"see configs/loss/ce_dice.yaml"
        )
    if not isinstance(term["weight"], int | float):
        raise ConfigError(f"loss.terms.{name}.weight: expected a number, got {term['weight']!r}")
    check_range(f"terms.{name}.weight", term["weight"], 0)
