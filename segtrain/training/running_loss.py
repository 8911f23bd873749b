"""Running sums of the training loss and its terms on the device, read only when they are logged."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segtrain.runtime.world import ALONE, World

_NEVER = 2**62  # a step beyond all: no loss was bad


class RunningLoss:
    """Sums of losses since the last log line and since the start of the epoch, and the first bad step.

    Terms of the loss are summed since the last log line. `add` does not wait for the device; the
    ``read`` methods and `first_bad_step` do, and for all ranks of ``world``: what they return is of all.
    """

    def __init__(self, device: torch.device, world: World = ALONE) -> None:
        self.world = world
        self.sums = torch.zeros(2, device=device)  # since the last log line, since the start of the epoch
        self.terms: dict[str, Tensor] = {}  # since the last log line
        self.steps = [0, 0]
        self.bad = torch.tensor(_NEVER, device=device)

    def add(self, loss: Tensor, terms: Mapping[str, Tensor], step: int) -> None:
        """Add the loss of one step and its terms by name, each a detached scalar."""
        self.sums += loss
        self.terms = add_by_name(self.terms, terms)
        self.steps = [steps + 1 for steps in self.steps]
        self.bad = torch.where(torch.isfinite(loss), self.bad, self.bad.clamp(max=step))  # without a sync

    def read_interval(self) -> dict[str, float]:
        """Return and reset the means since the last call: ``loss``, and each term as ``loss/<name>``."""
        steps = max(1, self.steps[0])
        terms = {f"loss/{name}": self._mean(total) / steps for name, total in self.terms.items()}
        self.terms = {}
        return {"loss": self._read(0), **terms}

    def read_epoch(self) -> float:
        """Return and reset the mean loss since the last call."""
        return self._read(1)

    def _read(self, which: int) -> float:
        mean = self._mean(self.sums[which]) / max(1, self.steps[which])
        self.sums[which] = 0
        self.steps[which] = 0
        return mean

    def _mean(self, total: Tensor) -> float:
        """Return the mean of a sum over the ranks."""
        return float(self.world.sum(total.clone())) / self.world.size

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not finite on any rank, or None; waits for the device."""
        step = int(self.world.least(self.bad.clone()))
        return None if step == _NEVER else step

    def state_dict(self) -> dict[str, Any]:
        """Return the sums for a checkpoint."""
        return {"sums": self.sums, "terms": dict(self.terms), "steps": list(self.steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sums of steps that were good; where an old checkpoint has no terms, the log interval is reset."""
        self.bad.fill_(_NEVER)
        self.sums.copy_(state["sums"])
        self.steps = list(state["steps"])
        if "terms" in state:
            self.terms = {name: total.to(self.sums.device) for name, total in state["terms"].items()}
        else:
            self._read(0)


def add_by_name(sums: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add scalars to the sums of the same names; a name that is new starts with its value."""
    return {**sums, **{name: sums[name] + value if name in sums else value for name, value in values.items()}}
