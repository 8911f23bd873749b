"""Image sizes and batches for a memory: which there are to choose from, and the largest that is within it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import median

from segtrain.build.tuning.settings import divisors
from segtrain.data.sample import Source

STRIDE = 32  # of the deepest maps of most encoders: sizes are multiples of it
_LOOKED_AT = 16  # images, to learn the sizes of all
_NORMALISED = 4  # images that statistics of batch normalisation are taken over at least


def own_size(source: Source) -> tuple[int, int]:
    """Return the median height and width of a data set's images; some are read."""
    count = min(_LOOKED_AT, len(source))
    shapes = [source[number * len(source) // count].mask.shape for number in range(count)]
    return int(median(shape[-2] for shape in shapes)), int(median(shape[-1] for shape in shapes))


def ladder(size: int | Sequence[int], own: tuple[int, int]) -> list[int | list[int]]:
    """List sizes with the proportions of ``size``, of multiples of 32, up to the data's own, in rising order.

    ``size`` itself where there is none.
    """
    if isinstance(size, int):
        found: list[int | list[int]] = [*range(STRIDE, min(own) + 1, STRIDE)]
    else:
        height, width = size
        pairs = [
            [step, max(STRIDE, round(step * width / height / STRIDE) * STRIDE)]
            for step in range(STRIDE, own[0] + 1, STRIDE)
        ]
        found = [pair for pair in pairs if pair[1] <= own[1]]
    return found or [size if isinstance(size, int) else list(size)]


def least_batch(whole: int, *, normalised: bool) -> int:
    """Return how many images of a step are to be taken at once at least: four where their statistics count."""
    return next(part for part in divisors(whole) if part >= (min(whole, _NORMALISED) if normalised else 1))


def last_that_fits(estimates: Sequence[float], measure: Callable[[int], float | None], *, limit: float) -> int | None:
    """Find the last of several candidates, in rising order of need, whose measured need is within ``limit``.

    ``estimates`` are their computed needs; ``measure`` returns that of a number, or None where it was too much for the
    machine. Corrected by what was measured, the estimates say which to try, and spare those that cannot fit. Returns
    None where none fits.
    """
    known: dict[int, float] = {}
    fits, too_much = -1, len(estimates)
    while too_much - fits > 1:
        guess = next(_promising(estimates, known, fits, too_much, limit=limit), None)
        if guess is None:
            if fits >= 0:
                break
            guess = 0  # the least is measured before nothing is said to fit
        need = measure(guess)
        if need is not None:
            known[guess] = need
        fits, too_much = (guess, too_much) if need is not None and need <= limit else (fits, guess)
    return None if fits < 0 else fits


def _promising(
    estimates: Sequence[float], known: dict[int, float], low: int, high: int, *, limit: float
) -> Iterator[int]:
    """Yield the numbers between two that are predicted to fit, the last first."""
    points = sorted((estimates[number], need) for number, need in known.items())
    return (number for number in range(high - 1, low, -1) if predicted(estimates[number], points) <= limit)


def predicted(estimate: float, points: Sequence[tuple[float, float]]) -> float:
    """Correct an estimate by what was measured: ``points`` are estimates and measured values, in rising order.

    One point gives a constant, such as what the libraries take; of more, the two nearest give a line.
    """
    if not points:
        return estimate
    if len(points) == 1:
        return estimate + points[0][1] - points[0][0]
    (low, at_low), (high, at_high) = min(pairwise(points), key=lambda pair: abs(pair[0][0] + pair[1][0] - 2 * estimate))
    slope = (at_high - at_low) / (high - low) if high > low else 1.0
    return at_low + slope * (estimate - low)
