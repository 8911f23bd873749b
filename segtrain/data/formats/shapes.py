"""The embedded dataset: textured shapes that only their outline tells apart, drawn on demand."""

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
"""Corners of each shape, and the angle at which the first one lies when it stands upright."""

CLASS_NAMES = ("background", *OUTLINES)
RADIUS = 0.14, 0.25  # of a shape, in sizes of the image
TILT = math.radians(10)  # shapes stand almost upright: a small network learns them within a minute
SWING = 25  # greatest distance of a texture's two colours from its mean, in gray levels
GROUND = 30, 150  # range of the background's channels, in gray levels
PAINT = 90, 225  # of a shape's: brighter on the whole, so that a small network soon sees that something is there
CONTRAST = 100  # least distance in RGB between a shape's colour and those already in the image
GRAIN = 6  # standard deviation of the noise, in gray levels


class Shapes(Source):
    """Overlapping discs, squares, triangles and stars, textured like the background they lie on.

    Shapes are brighter than the ground on the whole, but colour and texture say nothing about which shape it is; a
    model has to see the outline. A sample is a pure function of ``(seed, split, index)``: nothing is stored, nothing is
    read. Image ``(size, size, 3)``.
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
        self._stream = (seed, get_args(Split).index(split))

    def __getitem__(self, index: int) -> RawSample:
        rng = np.random.default_rng((*self._stream, index))
        return RawSample(*draw(rng, self.size), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Draw that sample for its mask alone, ``(size, size)``."""
        return self[index].mask


def draw(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image ``(size, size, 3)`` and its mask ``(size, size)``."""
    colours = [_new_colour(rng, GROUND, [])]
    canvas = _texture(rng, size, colours[0])
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):
        label = int(rng.integers(1, len(CLASS_NAMES)))
        colours.append(_new_colour(rng, PAINT, colours))
        region = _region(rng, CLASS_NAMES[label], size)
        np.copyto(canvas, _texture(rng, size, colours[-1]), where=region[..., None])
        mask[region] = label
    canvas = cv2.GaussianBlur(canvas, (3, 3), float(rng.uniform(0.3, 0.8))).astype(np.float32, copy=False)
    canvas += GRAIN * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8), mask


def _region(rng: np.random.Generator, name: str, size: int) -> NDArray[np.bool_]:
    """Place a shape at random, most of it inside the image."""
    radius = rng.uniform(*RADIUS) * size
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
    corners = centre + radius * _outline(name, rng.uniform(-TILT, TILT))
    region = np.zeros((size, size), np.uint8)
    cv2.fillPoly(region, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)  # in sixteenths of a pixel
    return region.view(np.bool_)


def _outline(name: str, tilt: float) -> NDArray[np.float64]:
    """Corners ``(K, 2)`` on the unit circle, every other one of the star on a smaller circle."""
    count, first = OUTLINES[name]
    angle = first + tilt + 2 * math.pi * np.arange(count) / count
    radius = np.where((np.arange(count) % 2 == 1) & (name == "star"), 0.42, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _new_colour(rng: np.random.Generator, span: tuple[int, int], taken: list[Field]) -> Field:
    """Pick a colour that stands out from those already there, as far as sixteen tries find one."""
    tries = rng.uniform(*span, (16, 3)).astype(np.float32)
    distance = np.linalg.norm(tries[:, None] - np.array(taken).reshape(1, -1, 3), axis=-1)
    nearest = np.minimum(distance.min(axis=1, initial=CONTRAST), CONTRAST)
    best: Field = tries[np.argmax(nearest)]
    return best


def _texture(rng: np.random.Generator, size: int, colour: Field) -> Field:
    """Vary a colour over the image by a random pattern: ``(size, size, 3)``."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    swing = rng.uniform(-SWING, SWING, 3).astype(np.float32)
    field: Field = colour + swing * pattern[..., None]
    return field


def _wave(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Two square waves at right angles: signs ``(size, size)``, 4 to 10 periods over the image."""
    turn, phase, frequency = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi), 2 * math.pi * rng.uniform(4, 10)
    y, x = _grid(size)
    along = frequency * (x * math.cos(turn) + y * math.sin(turn)) + phase
    across = frequency * (y * math.cos(turn) - x * math.sin(turn)) + phase
    return np.sign(np.sin(along)), np.sign(np.sin(across))


@cache
def _grid(size: int) -> tuple[Field, Field]:
    """Coordinates from 0 to 1: ``(size, 1)`` down and ``(1, size)`` across."""
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
