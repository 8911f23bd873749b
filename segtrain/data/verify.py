"""Looking into pairs of files before training, so that a bad one is named now and not in the third epoch."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segtrain.data.images import image_size, read_mask
from segtrain.data.labels import LabelMap, listing
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

MOST = 8  # problems that are shown


class Pair(NamedTuple):
    """The two files of a sample."""

    image: Path
    mask: Path


class Finding(NamedTuple):
    """What a look into a pair showed: the values of its mask, or why it cannot be used."""

    pair: Pair
    values: tuple[int, ...] = ()
    problem: str | None = None


def verify_pairs(pairs: Sequence[Pair], labels: LabelMap, class_names: Sequence[str]) -> set[int]:
    """Check all pairs and return the values that their masks hold; raise one `DataError` with a line per problem."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = list(pool.map(_look, pairs))
    problems = first_few([finding.problem for finding in findings if finding.problem])
    values = {value for finding in findings for value in finding.values}
    strange = [finding for finding in findings if labels.unknown(finding.values)]
    if strange:
        pair, held, _ = strange[0]
        others = f" ({len(strange)} masks hold such values)" if len(strange) > 1 else ""
        problems.append(
            f"{pair.mask}: mask holds {_values(held)}, expected {labels.expected}; "
            f"{labels.remedy(values, class_names)}{others}"
        )
    if problems:
        raise DataError("\n".join(problems))
    return values


def first_few(problems: Sequence[str]) -> list[str]:
    """Keep the first lines about files, and count the rest in one more."""
    rest = len(problems) - MOST
    return [*problems[:MOST], *([f"and {rest} more files with problems"] if rest > 0 else [])]


def held_values(mask: Pixels) -> tuple[int, ...]:
    """List the values that a mask ``(H, W)`` holds, ascending."""
    return tuple(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def wrong_size(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    """Describe a mask that does not fit its image; sizes are ``(H, W)``."""
    turned = image == mask[::-1]
    remedy = "EXIF orientation is ignored, store the photo's pixels upright" if turned else "bring both to one size"
    sizes = f"mask of {mask[1]}x{mask[0]} pixels for an image of {image[1]}x{image[0]}"
    return f"{pair.mask}: {sizes} ({pair.image}); {remedy}"


def _look(pair: Pair) -> Finding:
    try:
        size, mask = image_size(pair.image), read_mask(pair.mask)
    except DataError as error:
        return Finding(pair, problem=str(error))
    if size != mask.shape:
        return Finding(pair, problem=wrong_size(pair, size, mask.shape))
    return Finding(pair, values=held_values(mask))


def _values(values: Sequence[int]) -> str:
    """Write ``0 and 255``, ``0, 1 and 255``, or the ends of a long list."""
    if len(values) == 1 or len(values) > MOST:
        return listing(values)
    return f"{listing(values[:-1])} and {values[-1]}"
