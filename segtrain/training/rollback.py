"""After a step that is not finite: what is kept of it, and going back to the last good checkpoint.

No copies are made while all is well. As a resume is exact, the state before a bad step is found by making the steps
since the last checkpoint once more, each looked at before it changes the weights.
"""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segtrain.data.sample import Batch
from segtrain.errors import DivergedError, ElsewhereError
from segtrain.run import checkpoint
from segtrain.runtime.random_state import random_state, restore_random_state
from segtrain.runtime.shards import own_shard, whole
from segtrain.runtime.world import World

if TYPE_CHECKING:
    from segtrain.training.trainer import Trainer

log = logging.getLogger(__name__)

FOLDER = "nonfinite"
"""Of a run's folder, where bad steps are kept."""


class _BadStepError(Exception):
    """A step whose loss or gradients are not finite on a rank, found before it has changed the weights."""

    def __init__(self, what: str, rank: int) -> None:
        super().__init__(what)
        self.what, self.rank = what, rank


def go_back(trainer: "Trainer", error: DivergedError) -> None:
    """Keep the step that an error of `Soundness` is about, and load the last good checkpoint at a lower rate.

    Raises the error, with what is kept, where that was done ``trainer.rollbacks`` times already.
    """
    options, last = trainer.options, trainer.checkpoints.last
    trainer.checkpoints.wait()
    trainer.world.most(0)  # all wait until the first has written
    kept = None if error.step is None else keep_bad_step(trainer, checkpoint.read(last), error.step)
    saved = checkpoint.read(last)  # again: steps change the tensors that an optimizer has loaded
    replay = "" if kept is None else f"; to see where it begins: {kept}"
    done = saved["state"].get("rollbacks", 0)
    if done >= options.rollbacks:
        final = DivergedError(f"{error}{replay}", step=error.step)
        raise (final if trainer.world.is_first else ElsewhereError(final.exit_code)) from None
    log.warning("%s%s", error, replay)
    trainer.load_state_dict(saved)
    for group in trainer.optimizer.param_groups:
        group["base_lr"] *= options.rollback_factor
    trainer.state.rollbacks = done + 1
    trainer.log.rewind(trainer.state.log_bytes)
    trainer.log.restart_clock()
    log.warning(
        "going back to step %d, with learning rates times %g (%d of trainer.rollbacks=%d)",
        *(trainer.state.step, options.rollback_factor, done + 1, options.rollbacks),
    )
    trainer.save()  # at once: a run that is killed now must not forget the rate


def keep_bad_step(trainer: "Trainer", saved: Mapping[str, Any], last_step: int) -> str | None:
    """Write ``nonfinite/step<N>.pt``, a checkpoint from before the bad step with its batches; returns what shows it.

    The steps since a checkpoint are made again, up to one after ``last_step`` (0-based). None where all of them are
    finite this time, as on a device whose sums come in another order.
    """
    log.info("making the steps from %d on again, to keep the one that is not finite", saved["state"]["step"])
    trainer.load_state_dict(saved)
    trainer.step.inspect = _Inspection(trainer)
    try:
        for group in trainer.groups():
            before = random_state(), [buffer.clone() for buffer in trainer.model.buffers()]
            try:
                trainer.train_step(group)
            except _BadStepError as found:
                trainer.optimizer.zero_grad(set_to_none=True)
                _restore(trainer, *before)
                return _write(trainer, group, found)
            trainer.state.step += 1
            trainer.state.batch += len(group)
            if trainer.state.step > last_step + 1:
                break
    finally:
        trainer.step.inspect = None
    log.warning("all of them are finite this time: nothing is kept")
    return None


class _Inspection:
    """Looks at a loss and the gradients before they change the weights; waits for the device."""

    def __init__(self, trainer: "Trainer") -> None:
        self.model, self.world = trainer.model, trainer.world
        # scaled gradients of fp16 overflow now and then: such a step is left out
        self.looks_at_gradients = not trainer.step.scaler.is_enabled()

    def __call__(self, loss: Tensor) -> None:
        """Raise `_BadStepError` on all ranks where a value is not finite on one."""
        gradients = [own_shard(weight.grad) for weight in self.model.parameters() if weight.grad is not None]
        is_loss_bad = not bool(loss.isfinite())
        sound = not self.looks_at_gradients or bool(torch.stack([grad.isfinite().all() for grad in gradients]).all())
        buffers = [buffer.isfinite().all() for buffer in self.model.buffers() if buffer.is_floating_point()]
        are_statistics_bad = bool(buffers) and not bool(torch.stack(buffers).all())
        for what, is_bad in (("loss", is_loss_bad), ("gradients", not sound), ("statistics", are_statistics_bad)):
            rank = _first_bad(self.world, is_bad)
            if rank is not None:
                raise _BadStepError(what, rank)


def _first_bad(world: World, is_bad: bool) -> int | None:
    """Return the first rank on which something is bad; None where nothing is."""
    (found,) = world.most(world.size - world.rank if is_bad else 0)
    return world.size - found if found else None


def _restore(trainer: "Trainer", random: dict[str, Any], buffers: list[Tensor]) -> None:
    restore_random_state(random)
    with torch.no_grad():
        for buffer, value in zip(trainer.model.buffers(), buffers, strict=True):
            buffer.copy_(value)


def _write(trainer: "Trainer", group: list[Batch], found: _BadStepError) -> str:
    """Write a bad step of one rank; returns the command that shows it."""
    number = trainer.state.step + 1
    random, batches = trainer.world.gather((random_state(), [_on_cpu(batch) for batch in group]))[found.rank]
    state = whole(trainer.state_dict(), keep=trainer.world.is_first)
    payload = {**state, "random": random, "batches": batches, "what": found.what, "ranks": []}
    folder = trainer.log.folder / FOLDER
    if trainer.world.is_first:
        folder.mkdir(exist_ok=True)
        checkpoint.write(payload, folder / f"step{number}.pt")
    return f"segtrain replay {shlex.quote(str(trainer.log.folder))} step={number}"


def _on_cpu(batch: Batch) -> dict[str, Any]:
    return {key: value.cpu() if isinstance(value, Tensor) else value for key, value in batch.items()}


def kept_steps(run: Path) -> list[int]:
    """List the steps that are kept of a run."""
    return sorted(int(file.stem.removeprefix("step")) for file in (run / FOLDER).glob("step*.pt"))
