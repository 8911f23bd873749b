"""Random scale and crop of an image with its mask, not of one class only, or around a given place."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segtrain.config.schema import Resize
from segtrain.data.loading.transforms import Size, resize_image, resize_mask
from segtrain.data.sample import Pixels, RawSample
from segtrain.task import IGNORE_INDEX

Place = tuple[int, int]
"""Row and column of a pixel."""

_TRIES = 10  # of a crop that is not one class only, as in mmsegmentation
_LOOKED_AT = 64  # rows and columns of a crop that its classes are counted on


class _Span(NamedTuple):
    """What a crop takes of an image along one axis, and where it goes, in pixels."""

    start: int  # in the image
    length: int
    at: int  # in the crop: the rest of it is padding
    scaled: int


class Crop:
    """Scales a sample by a factor drawn evenly from ``scale``, and cuts a crop of ``size`` at random.

    What is smaller than the crop lies at a random place in it, on 0 with an ignored mask. Only the
    cut is resized, image and mask together: the labels of the mask are exact. A crop where one class
    has more than ``cat_max_ratio`` of the valid pixels is drawn again, up to ten times; the least
    uniform of them is taken. ``resize`` is that of `resize_image`.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (1.0, 1.0),
        *,
        cat_max_ratio: float = 1.0,
        resize: Resize = "antialias",
    ) -> None:
        self.size, self.scale, self.cat_max_ratio, self.resize = size, scale, cat_max_ratio, resize

    def __call__(
        self, raw: RawSample, rng: np.random.Generator, *, around: Place | None = None, size: Size | None = None
    ) -> RawSample:
        """Return a new sample of ``size``, of the crops if None; it holds the pixel ``around``, if given."""
        size = size or self.size
        if around is not None or self.cat_max_ratio == 1:
            return _cut(raw, *self._spans(raw, rng, size, around), size, self.resize)
        best, lowest = self._spans(raw, rng, size, None), 2.0
        tried = best
        for _ in range(_TRIES):
            share = largest_share(raw.mask[..., _of(tried[0]), _of(tried[1])])
            if share < lowest:
                best, lowest = tried, share
            if share <= self.cat_max_ratio:
                break
            tried = self._spans(raw, rng, size, None)
        return _cut(raw, *best, size, self.resize)

    def _spans(self, raw: RawSample, rng: np.random.Generator, size: Size, around: Place | None) -> tuple[_Span, _Span]:
        """Draw the rows and the columns of a crop."""
        factor = rng.uniform(*self.scale)
        own = raw.mask.shape[-2:]
        rows, columns = (
            _span(own[axis], size[axis], factor, rng, None if around is None else around[axis]) for axis in (0, 1)
        )
        return rows, columns


def _span(own: int, side: int, factor: float, rng: np.random.Generator, around: int | None) -> _Span:
    """Draw what a crop of ``side`` pixels takes of ``own`` pixels that are scaled by a factor."""
    length = max(1, round(side / factor))
    if length >= own:  # all of it, with padding before and behind
        scaled = min(side, max(1, round(own * factor)))
        return _Span(0, own, int(rng.integers(side - scaled + 1)), scaled)
    first, last = 0, own - length
    if around is not None:
        first, last = max(first, around - length + 1), min(last, around)
    return _Span(int(rng.integers(first, last + 1)), length, 0, side)


def _of(span: _Span) -> slice:
    return slice(span.start, span.start + span.length)


def _cut(raw: RawSample, rows: _Span, columns: _Span, size: Size, resize: Resize) -> RawSample:
    """Cut and resize a crop, and pad it to ``size``; always a copy."""
    scaled = rows.scaled, columns.scaled
    image = _padded(resize_image(raw.image[_of(rows), _of(columns)], scaled, resize), rows, columns, size, 0)
    mask = _padded_mask(resize_mask(raw.mask[..., _of(rows), _of(columns)], scaled), rows, columns, size)
    return RawSample(_own(image, raw.image), _own(mask, raw.mask), raw.id)


def _own(pixels: Pixels, original: Pixels) -> Pixels:
    """Copy what is still a view of the original, which mixing and transforms would change."""
    return pixels.copy() if np.may_share_memory(pixels, original) else pixels


def _padded(pixels: Pixels, rows: _Span, columns: _Span, size: Size, value: int) -> Pixels:
    if pixels.shape[:2] == size:
        return pixels
    canvas = np.full((*size, *pixels.shape[2:]), value, pixels.dtype)
    canvas[rows.at : rows.at + rows.scaled, columns.at : columns.at + columns.scaled] = pixels
    return canvas


def _padded_mask(mask: NDArray[np.uint8], rows: _Span, columns: _Span, size: Size) -> NDArray[np.uint8]:
    if mask.ndim == 3:
        return np.stack([_padded(plane, rows, columns, size, IGNORE_INDEX) for plane in mask])
    return _padded(mask, rows, columns, size, IGNORE_INDEX)


def largest_share(mask: NDArray[np.uint8]) -> float:
    """Return the share of the most frequent label among the valid pixels of a mask; 1 where none is valid.

    It is taken of some 64 x 64 of its pixels. Of a mask ``(C, H, W)``, pixels without any class
    count as a label too.
    """
    height, width = mask.shape[-2:]
    seen = mask[..., :: max(1, height // _LOOKED_AT), :: max(1, width // _LOOKED_AT)]
    if mask.ndim == 2:
        counts = np.bincount(seen.ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
        valid = counts.sum()
    else:
        present = seen == 1
        counts = np.append(present.sum((1, 2)), (seen == 0).all(0).sum())  # (C + 1,)
        valid = (seen != IGNORE_INDEX).any(0).sum()
    return float(counts.max() / valid) if valid else 1.0
