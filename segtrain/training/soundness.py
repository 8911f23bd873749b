"""Detection of divergence: losses, weights or statistics that are not finite, with the images that led to it."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from segtrain.errors import DivergedError
from segtrain.evaluation.evaluator import Evaluation
from segtrain.runtime.shards import own_shard
from segtrain.runtime.world import ALONE, World
from segtrain.training.running_loss import RunningLoss

_NAMED = 8  # images that an error line names, as far as they are no longer than this:
_LONGEST = 120  # characters


class Soundness:
    """Checks losses, weights and running statistics; keeps the image ids of the steps since the last check.

    The check waits for the device, and so is not made in every step. All ranks of ``world`` make it at the
    same steps, and come to the same end.
    """

    def __init__(self, model: nn.Module, running: RunningLoss, last_good: Path, world: World = ALONE) -> None:
        self.model, self.running, self.last_good, self.world = model, running, last_good, world
        self.recent_ids: dict[int, list[str]] = {}

    def stepped(self, step: int, ids: list[str]) -> None:
        """Record the images of a step (0-based)."""
        self.recent_ids[step] = ids

    def check(self, steps: int) -> None:
        """Raise `DivergedError` if a loss since the last check, a weight or a running statistic is not finite.

        ``steps`` is the number of steps done. Waits for the device.
        """
        bad = self.running.first_bad_step()
        tensors = [*self.model.parameters(), *(buffer for buffer in self.model.buffers() if buffer.is_floating_point())]
        is_finite = torch.stack([own_shard(tensor.detach()).isfinite().all() for tensor in tensors])  # one sync
        (is_bad,) = self.world.most(int(not is_finite.all()))
        if bad is None and not is_bad:
            self.recent_ids.clear()
            return
        step = steps - 1 if bad is None else bad
        what = "the weights or their running statistics are" if bad is None else "the loss is"
        ids = chain.from_iterable(self.world.gather(self.recent_ids.get(step, [])))
        self._refuse(f"step {step + 1}: {what} not finite; images {name_some(list(ids))}", step)

    def check_validation(self, steps: int, evaluation: Evaluation) -> None:
        """Raise `DivergedError` if a validation loss is not finite: then neither are its logits."""
        if evaluation.unsound:
            images = name_some(evaluation.unsound)
            self._refuse(f"step {steps}: the loss is not finite in validation; images {images}")

    def _refuse(self, problem: str, step: int | None = None) -> None:
        remedy = "try a lower optimizer.lr or trainer.precision=fp32"
        self.recent_ids.clear()
        raise DivergedError(f"{problem}; last good checkpoint {self.last_good}; {remedy}", step=step)


def name_some(ids: Sequence[str]) -> str:
    """List the first few of many names, at least one, and count the rest."""
    named: list[str] = []
    for name in ids[:_NAMED]:
        if named and len(", ".join([*named, name])) > _LONGEST:
            break
        named.append(name)
    more = len(ids) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
