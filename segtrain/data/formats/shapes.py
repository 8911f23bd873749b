"""Synthetic dataset of textured shapes, told apart by their outline alone; drawn on demand."""

import math
from collections.abc import Callable
from functools import cache
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segtrain.data.palette import palette
from segtrain.data.sample import RawSample, Source, Split
from segtrain.errors import ConfigError
from segtrain.task import Mode

Field = NDArray[np.float32]

OUTLINES = {"disc": (40, 0.0), "square": (4, math.pi / 4), "triangle": (3, -math.pi / 2), "star": (10, -math.pi / 2)}
"""Number of corners of each shape, and the angle of the first one when the shape is upright."""

CLASS_NAMES = ("background", *OUTLINES)
RADIUS = 0.14, 0.25  # of a shape, as a fraction of the image's side
TILT = math.radians(10)  # almost upright, so that a small network learns the shapes within a minute
SWING = 25  # amplitude of a texture around its colour, in gray levels
GROUND = 30, 150  # range of the background's channels, in gray levels
PAINT = 90, 225  # range of a shape's: brighter on average, so that a small network soon finds shapes
CONTRAST = 100  # distance in RGB that is enough between a shape's colour and those in the image
GRAIN = 6  # standard deviation of the noise, in gray levels


class Shapes(Source):
    """Synthetic images of overlapping discs, squares, triangles and stars on a textured background.

    Shapes are brighter than the background on average, but colour and texture are independent of the
    class: a model has to learn the outline. A sample is a pure function of ``(seed, split, index)``;
    no files are read or written. Images are ``(size, size, 3)``.
    """

    mode: Mode = "multiclass"
    class_names = CLASS_NAMES
    palette = palette(len(CLASS_NAMES))
    channels = 3

    def __init__(
        self, *, split: Split, size: int = 64, train: int = 2048, val: int = 128, test: int = 128, seed: int = 0
    ) -> None:
        if split == "all":
            raise ConfigError("data.split: all, but shapes are drawn for each split; set data.split=train, val or test")
        self.size = size
        self.ids = tuple(f"{split}-{index:05d}" for index in range({"train": train, "val": val, "test": test}[split]))
        self._stream = (seed, get_args(Split).index(split))  # the order in `Split` is part of the data

    def __getitem__(self, index: int) -> RawSample:
        rng = np.random.default_rng((*self._stream, index))  # one stream per sample: any order, any worker
        return RawSample(*draw(rng, self.size), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the mask of that sample, ``(size, size)``, which draws its image too."""
        return self[index].mask


def draw(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image ``(size, size, 3)`` and its mask ``(size, size)``, both of uint8."""
    # the order of the draws from rng is part of the data: every change of it makes other images
    colours = [_new_colour(rng, GROUND, [])]
    canvas = _texture(rng, size, colours[0])  # (size, size, 3) of float32
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):  # 1 to 3 shapes, later ones over earlier ones
        label = int(rng.integers(1, len(CLASS_NAMES)))
        colours.append(_new_colour(rng, PAINT, colours))
        region = _region(rng, CLASS_NAMES[label], size)
        np.copyto(canvas, _texture(rng, size, colours[-1]), where=region[..., None])
        mask[region] = label
    canvas = cv2.GaussianBlur(canvas, (3, 3), float(rng.uniform(0.3, 0.8))).astype(np.float32, copy=False)
    canvas += GRAIN * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8), mask


def _region(rng: np.random.Generator, name: str, size: int) -> NDArray[np.bool_]:
    """Draw the region ``(size, size)`` of a shape at a random place, most of it inside the image."""
    radius = rng.uniform(*RADIUS) * size
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
    corners = centre + radius * _outline(name, rng.uniform(-TILT, TILT))  # (K, 2) of x, y
    region = np.zeros((size, size), np.uint8)
    cv2.fillPoly(region, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)  # 4 fractional bits
    return region.view(np.bool_)


def _outline(name: str, tilt: float) -> NDArray[np.float64]:
    """Return corners ``(K, 2)`` on the unit circle, every other one of the star on a smaller circle."""
    count, first = OUTLINES[name]
    angle = first + tilt + 2 * math.pi * np.arange(count) / count  # (K,)
    radius = np.where((np.arange(count) % 2 == 1) & (name == "star"), 0.42, 1.0)  # (K,)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _new_colour(rng: np.random.Generator, span: tuple[int, int], taken: list[Field]) -> Field:
    """Draw a colour ``(3,)`` at `CONTRAST` from the taken ones, or the farthest of sixteen tries."""
    tries = rng.uniform(*span, (16, 3)).astype(np.float32)
    # (16, 1, 3) - (1, taken, 3) -> (16, taken)
    distance = np.linalg.norm(tries[:, None] - np.array(taken).reshape(1, -1, 3), axis=-1)
    # capped, so that argmax takes the first try that is far enough and colours stay random
    nearest = np.minimum(distance.min(axis=1, initial=CONTRAST), CONTRAST)  # (16,)
    best: Field = tries[np.argmax(nearest)]
    return best


def _texture(rng: np.random.Generator, size: int, colour: Field) -> Field:
    """Modulate a colour by a random pattern: ``(size, size, 3)``."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    swing = rng.uniform(-SWING, SWING, 3).astype(np.float32)
    field: Field = colour + swing * pattern[..., None]
    return field


def _wave(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Return two square waves at right angles, ``(size, size)`` of signs, 4 to 10 periods per image."""
    turn, phase, frequency = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi), 2 * math.pi * rng.uniform(4, 10)
    y, x = _grid(size)
    along = frequency * (x * math.cos(turn) + y * math.sin(turn)) + phase
    across = frequency * (y * math.cos(turn) - x * math.sin(turn)) + phase
    return np.sign(np.sin(along)), np.sign(np.sin(across))


@cache
def _grid(size: int) -> tuple[Field, Field]:
    """Return coordinates 0..1, ``(size, 1)`` down and ``(1, size)`` across; cached, not to be modified."""
    ticks: Field = np.arange(size, dtype=np.float32) / np.float32(size)
    return ticks[:, None], ticks[None, :]


def _stripes(rng: np.random.Generator, size: int) -> Field:
    return _wave(rng, size)[0]


def _checks(rng: np.random.Generator, size: int) -> Field:
    along, across = _wave(rng, size)
    return along * across


def _gradient(rng: np.random.Generator, size: int) -> Field:
    turn = rng.uniform(0, 2 * math.pi)
    y, x = _grid(size)
    return 2 * ((x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn))


def _blotches(rng: np.random.Generator, size: int) -> Field:
    coarse = rng.uniform(-1.5, 1.5, (12, 12)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def _speckle(rng: np.random.Generator, size: int) -> Field:
    return 2 * rng.random((size, size), np.float32) - 1


PATTERNS: tuple[Callable[[np.random.Generator, int], Field], ...] = (
    _stripes,
    _checks,
    _gradient,
    _blotches,
    _speckle,
)
