"""How much images are shrunk on their way into a model, against how much those of its training were."""

import logging
import math
from collections.abc import Mapping, Sequence

from segtrain.data.loading.transforms import Fitting
from segtrain.data.sample import Source

log = logging.getLogger(__name__)

_SAMPLED = 9  # training images that are looked at
_FAR = 4.0  # times more than in training, per side, from where on details that the model learned are gone
_FAR_UNKNOWN = 8.0  # times at all, where the images of the training are not known
_LARGEST = 16_000_000  # pixels that a model can be asked to take at once


def typical_size(source: Source) -> tuple[int, int]:
    """Return the median height and width of a few images of a source, spread evenly over it."""
    count = min(_SAMPLED, len(source))
    shapes = [source[number * len(source) // count].image.shape for number in range(count)]
    heights, widths = (sorted(shape[axis] for shape in shapes) for axis in (0, 1))
    return heights[count // 2], widths[count // 2]


def shrinkage(fitting: Fitting, size: Sequence[int]) -> float:
    """Say how many times an image of that height and width is shrunk, per side."""
    height, width = fitting.content_size(size)
    return math.sqrt(size[0] * size[1] / (height * width))


class TrainingScale:
    """Tells images that are shrunk far more than those of the training: what the model knows is then too small to see.

    ``usual`` is how many times those were shrunk, None where that is not known.
    """

    def __init__(self, fitting: Fitting, usual: float | None) -> None:
        self.fitting, self.usual = fitting, usual

    def problem(self, size: Sequence[int]) -> str | None:
        """Describe, with the remedy, an image of that height and width that is shrunk too much; None for others."""
        found, usual = shrinkage(self.fitting, size), self.usual
        if found < _FAR_UNKNOWN if usual is None else found < _FAR * usual:
            return None
        height, width = self.fitting.content_size(size)
        trained = "" if usual is None else f", those of the training {usual:.1f} times"
        return (
            f"{size[1]}x{size[0]} pixels are shrunk {found:.1f} times to {width}x{height}{trained}, so small things "
            f"are lost; {self._remedy(size, usual or 1.0)}"
        )

    def problems(self, names: Sequence[str], sizes: Sequence[Sequence[int]]) -> dict[str, str]:
        """Describe those of the named images that are shrunk too much."""
        found = {name: self.problem(size) for name, size in zip(names, sizes, strict=True)}
        return {name: problem for name, problem in found.items() if problem}

    def _remedy(self, size: Sequence[int], usual: float) -> str:
        height, width = (max(1, round(side / usual)) for side in size)
        if height * width > _LARGEST:
            return "cut such images into pieces of the size of the training's"
        return f"for the scale of the training: 'data.image_size=[{height},{width}]', or cut them into pieces"


def warn_of_shrunk(problems: Mapping[str, str]) -> None:
    """Say in one line which images are shrunk too much, where any is."""
    for name, problem in list(problems.items())[:1]:
        others = f" ({len(problems)} images are)" if len(problems) > 1 else ""
        log.warning("%s: %s%s", name, problem, others)
