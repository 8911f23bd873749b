"""Colour palettes and overlays for label maps."""

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
_AT_ONCE = 2**22  # pixels that are blended at once, as floats of eight times the bytes
_GOLDEN_RATIO = 0.618034  # its multiples modulo 1 spread evenly over the hues, for any count


def palette(count: int, *, has_background: bool = True) -> tuple[Colour, ...]:
    """Return an RGB colour for each of ``count`` label values; label 0 is dark if it is background.

    Hues advance by the golden ratio, so that neighbours differ for any count; saturation and
    brightness alternate.
    """
    dark = (BACKGROUND_COLOUR,) if has_background else ()
    return (*dark, *(_colour(number) for number in range(count)))[:count]


def colours_of(task: Task) -> tuple[Colour, ...]:
    """Return the colours of a task's label values, as `colorize` takes them.

    Where label 0 stands for no class there is one colour more than classes. Label 0 is dark where
    it stands for no class, or where its class has a name for background.
    """
    has_background = task.first_scored > 0 or task.class_names[0].lower() in _BACKGROUND_NAMES
    return palette(task.first_scored + len(task.class_names), has_background=has_background)


def colour_names(task: Task) -> tuple[str, ...]:
    """Name what each colour of `colours_of` stands for."""
    return ("none", *task.class_names) if task.classes_overlap else task.label_names


def _colour(number: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        number * _GOLDEN_RATIO % 1, 0.75 - 0.25 * (number % 2), 1 - 0.15 * (number % 3)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def colorize(labels: NDArray[np.integer], colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """Paint a label map ``(H, W)`` as RGB ``(H, W, 3)``; ignored pixels and unknown values are gray.

    Of multilabel masks ``(C, H, W)``, later classes cover earlier ones; the first colour is for
    pixels of no class.
    """
    table = np.full((IGNORE_INDEX + 1, 3), IGNORE_COLOUR, np.uint8)  # (256, 3): one row per uint8
    table[: len(colours)] = colours
    label_map = labels if labels.ndim == 2 else flatten(labels)
    painted: NDArray[np.uint8] = table[label_map]  # (H, W, 3)
    return painted


def flatten(masks: NDArray[np.integer]) -> NDArray[np.integer]:
    """Merge multilabel masks ``(C, H, W)`` into a label map ``(H, W)``.

    A pixel gets the number, from 1, of its last class, or 0 without any. It is ignored where it
    belongs to no class and at least one class is ignored there.
    """
    labels = np.where((masks == IGNORE_INDEX).any(0), IGNORE_INDEX, 0)
    for number, mask in enumerate(masks, 1):
        labels[mask == 1] = number
    return labels


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.integer], colours: Sequence[Colour], *, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Blend the colours of labels over their RGB image ``(H, W, 3)``; ``alpha`` is their opacity."""
    blended = np.empty(image.shape, np.uint8)
    step = max(1, _AT_ONCE // max(1, image.shape[1]))
    for top in range(0, len(image), step):
        rows = slice(top, top + step)
        painted = colorize(labels[..., rows, :], colours)
        blended[rows] = np.rint((1 - alpha) * image[rows] + alpha * painted)
    return blended
