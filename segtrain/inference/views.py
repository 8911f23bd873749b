"""Test-time augmentation: several views of the same pixels, whose probabilities are averaged."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from segtrain.inference.averaging import mean_of_outputs
from segtrain.inference.network import Around, Network
from segtrain.models import Outputs
from segtrain.models.layers import resize
from segtrain.task import Task

Flip: TypeAlias = Literal["horizontal", "vertical", "both"]
AXES: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (-1,), "vertical": (-2,), "both": (-2, -1)}
"""The axes of ``(N, C, H, W)`` that a flip turns around."""


class Views(Around):
    """A network that sees each image in several scales and flips, and answers the mean of the probabilities.

    The image as it is is always one of the views. Scales are factors of the sides of what the network is given.
    """

    def __init__(self, inner: Network, task: Task, *, flips: Sequence[Flip], scales: Sequence[float]) -> None:
        super().__init__(inner)
        self.task = task
        self.views = list(product(dict.fromkeys((1.0, *scales)), dict.fromkeys(("none", *flips))))

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run the network on every view of stored pixels ``(N, C, H, W)``; logits are those of the mean, float32."""
        return mean_of_outputs(self._answers(pixels), self.task)

    def _answers(self, pixels: Tensor) -> Iterator[Outputs]:
        size = pixels.shape[-2:]
        for scale, flip in self.views:
            axes = AXES[flip]
            seen = scaled(pixels, scale)
            answer = self.inner(seen.flip(axes) if axes else seen)
            logits = answer.logits.flip(axes) if axes else answer.logits
            yield Outputs(resize(logits.float(), size, mode="bilinear"), answer.labels)


def scaled(pixels: Tensor, scale: float) -> Tensor:
    """Resize stored pixels ``(N, C, H, W)`` by a factor, without aliasing, in their dtype: it says what white is."""
    if scale == 1:
        return pixels
    size = [max(1, round(side * scale)) for side in pixels.shape[-2:]]
    resized = F.interpolate(pixels.float(), size=size, mode="bilinear", antialias=True)
    if pixels.is_floating_point():
        return resized
    return resized.round_().clamp_(0, torch.iinfo(pixels.dtype).max).to(pixels.dtype)
