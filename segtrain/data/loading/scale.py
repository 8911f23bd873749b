"""Warnings for images that are downscaled far more than those of the training were."""

import logging
import math
from collections.abc import Mapping, Sequence

from segtrain.data.loading.transforms import Fitting
from segtrain.data.sample import Source

log = logging.getLogger(__name__)

_SAMPLED = 9  # images to take the median size of
_FAR = 4.0  # factor over the training's, per side, from which details that the model learned are lost
_FAR_UNKNOWN = 8.0  # factor per side, where that of the training is not known
_LARGEST = 16_000_000  # pixels of an input that may be suggested; above, the remedy is to cut images


def typical_size(source: Source) -> tuple[int, int]:
    """Return the median height and width of a few images, evenly spread over a source."""
    count = min(_SAMPLED, len(source))
    shapes = [source[number * len(source) // count].image.shape for number in range(count)]
    heights, widths = (sorted(shape[axis] for shape in shapes) for axis in (0, 1))
    return heights[count // 2], widths[count // 2]


def shrinkage(fitting: Fitting, size: Sequence[int]) -> float:
    """Return the factor, per side, by which an image of that ``(H, W)`` is downscaled."""
    height, width = fitting.content_size(size)
    return math.sqrt(size[0] * size[1] / (height * width))  # geometric mean of the two sides


class TrainingScale:
    """Finds images that are downscaled far more than those of the training, so that details are lost.

    ``usual`` is the factor of the training images, per side; None where it is not known.
    """

    def __init__(self, fitting: Fitting, usual: float | None) -> None:
        self.fitting, self.usual = fitting, usual

    def problem(self, size: Sequence[int]) -> str | None:
        """Describe, with the remedy, an image of that ``(H, W)`` if it is downscaled too much; else None."""
        found, usual = shrinkage(self.fitting, size), self.usual
        limit = _FAR_UNKNOWN if usual is None else _FAR * usual
        if found < limit:
            return None
        height, width = self.fitting.content_size(size)
        trained = "" if usual is None else f", those of the training {usual:.1f} times"
        return (
            f"{size[1]}x{size[0]} pixels are shrunk {found:.1f} times to {width}x{height}{trained}, so small things "
            f"are lost; {self._remedy(size, usual or 1.0)}"
        )

    def problems(self, names: Sequence[str], sizes: Sequence[Sequence[int]]) -> dict[str, str]:
        """Describe, by name, the images that are downscaled too much."""
        found = {name: self.problem(size) for name, size in zip(names, sizes, strict=True)}
        return {name: problem for name, problem in found.items() if problem}

    def _remedy(self, size: Sequence[int], usual: float) -> str:
        height, width = (max(1, round(side / usual)) for side in size)
        if height * width > _LARGEST:
            return "cut such images into pieces of the size of the training's"
        return f"for the scale of the training: 'data.image_size=[{height},{width}]', or cut them into pieces"


def warn_of_shrunk(problems: Mapping[str, str]) -> None:
    """Warn, in one line, of the images that are downscaled too much, if there are any."""
    for name, problem in list(problems.items())[:1]:  # the first stands for all
        others = f" ({len(problems)} images are)" if len(problems) > 1 else ""
        log.warning("%s: %s%s", name, problem, others)
