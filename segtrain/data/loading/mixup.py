"""Mixup of whole batches: each image is blended with another, and the loss counts both masks."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from segtrain.data.sample import Batch

ALPHA = 0.8  # of the beta distribution of weights, as in timm's recipes
_STREAM = 3  # the stream of random numbers, apart from those of samples


class Mixup:
    """Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: ICLR 2018) of a share of the batches.

    The images of a batch are blended with those of the batch in reverse, by one weight from
    Beta(0.8, 0.8). A blended pixel has two labels, and Dice and others take one: so masks are not
    blended, but the loss of both is, by the same weight. Whether and how depends on ``(seed, epoch,
    batch)`` alone.
    """

    def __init__(self, probability: float, *, seed: int) -> None:
        self.probability, self.seed = probability, seed

    def follow(self, batches: Iterator[Batch], epoch: int, first: int) -> Iterator[Batch]:
        """Mix batches of an epoch, of which the first has that number."""
        for number, batch in enumerate(batches, first):
            weight = self.weight(epoch, number)
            yield batch if weight is None or len(batch["id"]) < 2 else mix(batch, weight)

    def weight(self, epoch: int, batch: int) -> float | None:
        """Draw the weight of a batch's own images; None: it is not mixed."""
        rng = np.random.default_rng((self.seed, epoch, batch, _STREAM))
        is_mixed, weight = rng.random() < self.probability, float(rng.beta(ALPHA, ALPHA))
        return weight if is_mixed else None


def mix(batch: Batch, weight: float) -> Batch:
    """Blend each image with its partner, in the dtype of the images, and add the partners' masks and labels."""
    image = _blend(batch["image"], weight)
    mixed: Batch = {**batch, "image": image, "partner_mask": batch["mask"].flip(0), "own_weight": weight}
    if "label" in batch:
        mixed["partner_label"] = batch["label"].flip(0)
    return mixed


def _blend(images: Tensor, weight: float) -> Tensor:
    """Blend images ``(N, C, H, W)`` with those in reverse; integers are rounded."""
    blended = torch.lerp(images.flip(0).float(), images.float(), weight)
    if not images.dtype.is_floating_point:
        blended = blended.round_()
    return blended.to(images.dtype).contiguous(memory_format=torch.channels_last)
