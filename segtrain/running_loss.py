"""The training loss, summed on the device and read from there only when it is logged."""

import torch
from torch import Tensor

_NEVER = 2**62


class RunningLoss:
    """Sums losses since the last log line and since the start of the epoch, and remembers the first that is not finite.

    `add` works on the device alone; the ``read`` methods and `first_bad_step` wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, device=device)  # since the last log line, since the start of the epoch
        self.steps = [0, 0]
        self.bad = torch.tensor(_NEVER, device=device)

    def add(self, loss: Tensor, step: int) -> None:
        """Add the detached scalar loss of one step."""
        self.sums += loss
        self.steps = [steps + 1 for steps in self.steps]
        self.bad = torch.where(torch.isfinite(loss), self.bad, self.bad.clamp(max=step))

    def read_window(self) -> float:
        """Return the mean since the last call, and start anew."""
        return self._read(0)

    def read_epoch(self) -> float:
        """Return the mean since the last call, and start anew."""
        return self._read(1)

    def _read(self, which: int) -> float:
        mean = float(self.sums[which]) / max(1, self.steps[which])
        self.sums[which] = 0
        self.steps[which] = 0
        return mean

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not finite, or None."""
        step = int(self.bad)
        return None if step == _NEVER else step

    def state_dict(self) -> dict[str, object]:
        """Return the sums for a checkpoint."""
        return {"sums": self.sums, "steps": list(self.steps)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take the sums up again."""
        sums, steps = state["sums"], state["steps"]
        assert isinstance(sums, Tensor)
        assert isinstance(steps, list)
        self.sums.copy_(sums)
        self.steps = list(steps)
