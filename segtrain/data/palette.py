"""Colours for label maps."""

import colorsys
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.task import IGNORE_INDEX, Task

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

IGNORE_COLOUR: Colour = (128, 128, 128)
BACKGROUND_COLOUR: Colour = (24, 24, 32)
_BACKGROUND_NAMES = ("background", "bg", "backdrop", "none", "nothing", "other", "void", "unlabelled", "unlabeled")
_GOLDEN_RATIO = 0.618034


def palette(count: int, *, has_background: bool = True) -> tuple[Colour, ...]:
    """Give each of ``count`` label values its RGB colour; label 0 is dark where it is the background.

    Hues advance by the golden ratio, so that neighbours differ however many there are; brightness alternates.
    """
    dark = (BACKGROUND_COLOUR,) if has_background else ()
    return (*dark, *(_colour(number) for number in range(count)))[:count]


def colours_of(task: Task) -> tuple[Colour, ...]:
    """Give the colours of what a task predicts, as `colorize` takes them: one more than classes where 0 is none.

    Label 0 is dark where it stands for no class, or where its class goes by the name of a background.
    """
    has_background = task.first_scored > 0 or task.class_names[0].lower() in _BACKGROUND_NAMES
    return palette(task.first_scored + len(task.class_names), has_background=has_background)


def colour_names(task: Task) -> tuple[str, ...]:
    """Say what these colours stand for."""
    return ("none", *task.class_names) if task.classes_overlap else task.label_names


def _colour(number: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        number * _GOLDEN_RATIO % 1, 0.75 - 0.25 * (number % 2), 1 - 0.15 * (number % 3)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def colorize(labels: NDArray[np.integer], colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """Paint a label map ``(H, W)`` as RGB ``(H, W, 3)``; ignored pixels and unknown values are gray.

    Of classes that overlap, ``(C, H, W)``, the later lie over the earlier; the first colour is for pixels without any.
    """
    table = np.full((IGNORE_INDEX + 1, 3), IGNORE_COLOUR, np.uint8)
    table[: len(colours)] = colours
    painted: NDArray[np.uint8] = table[labels if labels.ndim == 2 else flatten(labels)]
    return painted


def flatten(masks: NDArray[np.integer]) -> NDArray[np.integer]:
    """Make masks of classes ``(C, H, W)`` a label map ``(H, W)``: the number of the last class there from 1 on, or 0.

    Pixels count as ignored where any class is, and none is there.
    """
    labels = np.where((masks == IGNORE_INDEX).any(0), IGNORE_INDEX, 0)
    for number, mask in enumerate(masks, 1):
        labels[mask == 1] = number
    return labels


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.integer], colours: Sequence[Colour], *, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Lay labels over their RGB image ``(H, W, 3)``; ``alpha`` is the share of the colours."""
    painted = colorize(labels, colours)
    return np.rint((1 - alpha) * image + alpha * painted).astype(np.uint8)
