"""Overlapping tiles over images of any size, blended by a smooth window, in memory that the height does not change."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from segtrain.inference.network import Around, Network
from segtrain.models import Outputs

ReadRows: TypeAlias = Callable[[int, int], Tensor]
"""Gives the stored pixels ``(C, rows, W)`` from one row up to another."""
_GRID = 32  # pixels; the stride of the coarsest map of most encoders


def places(length: int, size: int, overlap: float) -> list[int]:
    """Return where tiles of a size begin along a side: the first at 0, the last where it ends with the side.

    Neighbours share ``overlap`` of their size or more; a side that is not longer than a tile has one. All but the last
    begin at multiples of 32, if they are that far apart: the coarsest maps of an encoder then lie on one grid, so that
    neighbours say the same of what they share.
    """
    step = max(1, math.floor(size * (1 - overlap)))
    step -= step % _GRID if step > _GRID else 0
    return [*range(0, length - size, step), max(0, length - size)]


def window(size: int) -> Tensor:
    """Return the weights of a tile along one side, float64 ``(size,)``: Hann's, sampled at the centres of pixels.

    All are above 0, so that the border of an image, which no other tile covers, has a weight to be divided by.
    """
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return torch.sin(math.pi * centres).square()


def summed(starts: Sequence[int], weights: Tensor, length: int) -> Tensor:
    """Return the weights of all tiles along a side, summed at each pixel: float64 ``(length,)``."""
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + len(weights)] += weights
    return total


class Tiled(Around):
    """A network that sees an image in overlapping tiles of its own size, and answers the weighted mean of the logits.

    ``size`` is the ``(H, W)`` of tiles; smaller images are one tile. ``batch_size`` tiles run at once. Sums are
    float32. The logits of one row of tiles are held at a time: ``classes * tile height * image width`` numbers.
    """

    def __init__(self, inner: Network, *, size: tuple[int, int], overlap: float, batch_size: int) -> None:
        super().__init__(inner)
        self.size, self.overlap, self.batch_size = size, overlap, batch_size

    def __call__(self, pixels: Tensor) -> Outputs:
        """Answer logits ``(N, K, H, W)``, float32, for stored pixels ``(N, C, H, W)``; nothing of whole images."""
        height, width = pixels.shape[-2:]
        images = []
        for image in pixels:
            rows = self.rows(lambda top, bottom, image=image: image[:, top:bottom], height, width)  # type: ignore[misc]
            images.append(torch.cat(list(rows), 1))
        return Outputs(torch.stack(images))

    def rows(self, read: ReadRows, height: int, width: int) -> Iterator[Tensor]:
        """Yield the logits ``(K, rows, width)`` of an image from top to bottom, as soon as no tile adds to them.

        ``read`` is asked for the rows of each row of tiles in turn, which overlap.
        """
        rows, columns = min(self.size[0], height), min(self.size[1], width)
        tops, lefts = places(height, rows, self.overlap), places(width, columns, self.overlap)
        down, across = window(rows), window(columns)
        # tiles stand in a grid, so that the sum of their windows is a product too
        total_down, total_across = summed(tops, down, height), summed(lefts, across, width)
        device = self.runtime.device
        weights = (down[:, None] * across).to(device, torch.float32)  # (rows, columns)
        carried = None  # (K, overlapping rows, width), from the tiles above
        for number, top in enumerate(tops):
            sums = self._row(read(top, top + rows), lefts, columns, weights, carried)  # (K, rows, width)
            done = tops[number + 1] - top if number + 1 < len(tops) else rows
            total = total_down[top : top + done, None] * total_across  # (done, width)
            yield sums[:, :done] / total.to(device, torch.float32)
            carried = sums[:, done:].clone()

    def _row(self, band: Tensor, lefts: Sequence[int], columns: int, weights: Tensor, carried: Tensor | None) -> Tensor:
        """Sum the weighted logits of one row of tiles, cut from a band ``(C, rows, width)``, and what is carried."""
        sums = None
        for first in range(0, len(lefts), self.batch_size):
            some = lefts[first : first + self.batch_size]
            answer = self.inner(torch.stack([band[..., left : left + columns] for left in some])).logits
            if sums is None:
                sums = torch.zeros(answer.shape[1], *band.shape[1:], device=answer.device)
                if carried is not None:
                    sums[:, : carried.shape[1]] = carried
            for left, logits in zip(some, answer, strict=True):
                sums[..., left : left + columns].addcmul_(logits.float(), weights)
        assert sums is not None
        return sums
