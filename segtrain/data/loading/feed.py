"""The batches of one split, with seek to any epoch and batch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from segtrain.data.loading.copying import copied_aside
from segtrain.data.loading.dataset import AugmentedDataset, EpochBatches, batches, make_loader
from segtrain.data.loading.mixup import Mixup
from segtrain.data.sample import Batch


class Feed:
    """A dataset with its sampler and its loader; for training, shuffled and without an incomplete last batch.

    ``weights`` say how often each sample of a training is drawn, relative to the others; None: once.
    ``mixup`` is the share of its batches that are mixed. Of ``ranks`` processes, that of number ``rank`` has
    its part of the batches; ``batch_size`` is that of one rank. Workers have ``timeout`` seconds for a batch. To a
    ``device`` with streams batches are copied beside the steps.
    """

    def __init__(
        self,
        dataset: AugmentedDataset,
        *,
        batch_size: int,
        seed: int,
        training: bool,
        num_workers: int,
        pin_memory: bool,
        timeout: int = 0,
        device: torch.device | None = None,
        weights: NDArray[np.float64] | None = None,
        mixup: float = 0.0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.batch_size, self.device = batch_size, device
        self.mixup = Mixup(mixup, seed=seed) if training and mixup else None
        self.dataset = dataset
        self.order = EpochBatches(
            len(dataset),
            batch_size,
            seed=seed,
            shuffle=training,
            drop_last=training,
            weights=weights,
            blocks=dataset.blocks,
            rank=rank,
            ranks=ranks,
        )
        self.loader = make_loader(dataset, self.order, num_workers=num_workers, pin_memory=pin_memory, timeout=timeout)

    def __len__(self) -> int:
        """Return the number of batches of this rank in a whole epoch."""
        return len(self.order)

    def batches(self, epoch: int = 0, batch: int = 0) -> Iterator[Batch]:
        """Iterate over an epoch from one of its batches on; those before it are not read."""
        self.order.start(epoch, batch)
        found, moving = batches(self.loader), self.dataset.moving
        if self.device is not None and self.device.type == "cuda":
            found = copied_aside(found, self.device)
        if moving is not None:
            found = moving.follow(found, epoch)
        return found if self.mixup is None else self.mixup.follow(found, epoch, batch)

    @property
    def on_device_since(self) -> int | None:
        """The epoch from which on the device augments; None: nothing moves there, or it is not decided yet."""
        return None if self.dataset.moving is None else self.dataset.moving.since

    @on_device_since.setter
    def on_device_since(self, epoch: int | None) -> None:
        if self.dataset.moving is not None:
            self.dataset.moving.since = epoch
