"""One optimizer step: forward pass, loss and gradients of the batches of a group, on all ranks, and the update."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer

from segtrain.data.sample import Batch, in_parts
from segtrain.inference.network import Network
from segtrain.runtime.memory import release
from segtrain.runtime.world import ALONE, World
from segtrain.task import Task
from segtrain.training.memory import Attempt, tell
from segtrain.training.objective import WHOLE, Objective, Share, partner_in
from segtrain.training.parallel import Parallel
from segtrain.training.running_loss import add_by_name

Judge: TypeAlias = Callable[[int, float], bool]
"""Takes the epoch (from 1) and score of a validation, higher is better; says whether the run is to end there."""


class Step:
    """Makes one optimizer step of a group of batches. Nothing here waits for the device.

    Batches are weighted by their valid pixels, so that a mean over pixels is that over the group, on all
    ranks; means over images likewise. ``network`` runs a module that averages gradients over the ranks of
    ``world``, where there are several. Where memory runs out, batches are taken in twice as many ``parts`` from
    then on, on all ranks; not where ``network`` runs a model that is shared out (`Shards`).
    """

    def __init__(
        self,
        network: Network,
        *,
        task: Task,
        loss: Objective,
        optimizer: Optimizer,
        clip_norm: float | None,
        world: World = ALONE,
    ) -> None:
        self.network, self.task, self.loss, self.optimizer = network, task, loss, optimizer
        self.clip_norm, self.world = clip_norm, world
        self.runtime = network.runtime
        self.scaler = self.runtime.grad_scaler()
        self.parts = 1  # that each batch is taken in
        self.inspect: Callable[[Tensor], None] | None = None  # shown the loss, once there are gradients

    def __call__(self, group: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
        """Make the step; returns loss and terms, on the device: means over the ranks are those of all."""
        largest = max(len(batch["image"]) for batch in group)
        while (found := self.gradients(group, Attempt(self.world, may_fail=self._may_fail(largest)))) is None:
            self.parts *= 2
            self.optimizer.zero_grad(set_to_none=True)
            if isinstance(self.network.module, Parallel):
                self.network.module = self.network.module.made_again()
            release(self.runtime.device)
            tell(self.network.model, largest, self.parts)
        if self.inspect is not None:
            self.inspect(found[0])
        self.update()
        return found

    def gradients(self, group: list[Batch], attempt: Attempt) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Add up the gradients of a group; returns loss and terms, or None where memory ran out on any rank."""
        group = [part for batch in group for part in in_parts(batch, self.parts)]
        targets = [self.runtime.masks(batch["mask"]) for batch in group]
        total, terms = torch.zeros((), device=self.runtime.device), dict[str, Tensor]()
        shares = self.shares(targets)
        for number, (batch, target, share) in enumerate(zip(group, targets, shares, strict=True), 1):
            is_last = number == len(group)
            with self._without_exchange(not is_last):
                with attempt.noting():
                    outputs, labels = self.network(batch["image"]), self.runtime.labels(batch.get("label"))
                    loss = self.loss(outputs, target, labels, share, partner_in(batch, self.runtime))
                if attempt.failed_anywhere():
                    return None
                with attempt.noting(exchanges=is_last):
                    self.scaler.scale(loss).backward()  # batch by batch: one graph at a time is in memory
            total += loss.detach()
            terms = add_by_name(terms, self.loss.last_terms)
        return None if attempt.failed else (total, terms)

    def _may_fail(self, largest: int) -> bool:
        """Tell whether a step that runs out of memory can be made in smaller parts.

        Not where the model is shared out: the other ranks wait in its forward pass for what this one does not send.
        """
        return self.parts < largest and not isinstance(self.network.module, FSDPModule)

    def shares(self, targets: list[Tensor]) -> list[Share]:
        """Return each batch's fraction of the group's valid pixels, and of its images.

        With several ranks, times their number: their gradients are averaged, and are to be summed.
        """
        if len(targets) == 1 and self.world.is_alone:
            return [WHOLE]
        valid = torch.stack([self.task.valid(target).count_nonzero() for target in targets])
        own = torch.stack([valid.sum(), valid.new_tensor(sum(map(len, targets)))])
        pixels, images = self.world.sum(own).clamp(min=1)
        parts = self.world.size * valid / pixels
        return [
            Share(part, self.world.size * len(target) / images) for part, target in zip(parts, targets, strict=True)
        ]

    def update(self) -> None:
        """Clip the gradients, and step the optimizer."""
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)  # before clipping, or the norm would be that of scaled gradients
            nn.utils.clip_grad_norm_(self.network.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _without_exchange(self, is_wanted: bool) -> AbstractContextManager[None]:
        """Leave gradients on their rank until the last batch of the group: they are exchanged once a step."""
        module = self.network.module
        if is_wanted and isinstance(module, nn.parallel.DistributedDataParallel):
            found: AbstractContextManager[None] = module.no_sync()
            return found
        return nullcontext()


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Group batches for gradient accumulation, ``size`` to an optimizer step; the last group may be smaller."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group
