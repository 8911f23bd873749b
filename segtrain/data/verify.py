"""Looking into pairs of files before training, so that a bad one is named now and not in the third epoch."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segtrain.data.images import image_size, read_mask
from segtrain.data.labels import INEXACT, LabelMap, listing
from segtrain.data.pairs import Pair
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

MOST = 8  # problems that are shown


class Finding(NamedTuple):
    """What a look into a mask showed: its values, or why it or its image cannot be used."""

    mask: Path
    number: int
    """Which of the masks of its pair it is."""
    shape: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    problem: str | None = None


def verify_pairs(pairs: Sequence[Pair], labels: LabelMap, class_names: Sequence[str]) -> list[set[int]]:
    """Check all pairs, and return the values that the first, second, ... mask of each holds.

    Raises one `DataError` with a line for each problem.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [finding for found in pool.map(_look, pairs) for finding in found]
    problems = first_few([finding.problem for finding in findings if finding.problem])
    strange = [finding for finding in findings if labels.unknown(finding.values)]
    if strange:
        values = {value for finding in findings for value in finding.values}
        first = strange[0]
        problems.append(
            strange_values(first.mask, first.values, labels, labels.remedy(values, class_names), masks=len(strange))
        )
    if problems:
        raise DataError("\n".join(problems))
    held: list[set[int]] = [set() for _ in pairs[0].masks]
    for finding in findings:
        held[finding.number].update(finding.values)
    return held


def first_few(problems: Sequence[str]) -> list[str]:
    """Keep the first lines about files, and count the rest in one more."""
    rest = len(problems) - MOST
    return [*problems[:MOST], *([f"and {rest} more files with problems"] if rest > 0 else [])]


def held_values(mask: Pixels) -> tuple[int, ...]:
    """List the values that a mask ``(H, W)`` holds, ascending."""
    return tuple(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def strange_values(mask: Path, values: Sequence[int], labels: LabelMap, remedy: str, *, masks: int) -> str:
    """Describe the first of several masks that hold values without a label; those of a JPEG are never exact."""
    remedy = INEXACT if mask.suffix.lower() in (".jpg", ".jpeg") else remedy
    others = f" ({masks} masks hold such values)" if masks > 1 else ""
    return f"{mask}: mask holds {_values(values)}, expected {labels.expected}; {remedy}{others}"


def wrong_size(mask: Path, mask_size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> str:
    """Describe a mask that does not fit its image; sizes are ``(H, W)``."""
    turned = image_size == mask_size[::-1]
    remedy = "turn one of them by 90 degrees" if turned else "bring both to one size"
    sizes = f"mask of {mask_size[1]}x{mask_size[0]} pixels for an image of {image_size[1]}x{image_size[0]}"
    return f"{mask}: {sizes} ({image}); {remedy}"


def _look(pair: Pair) -> list[Finding]:
    masks = [_look_into(file, number) for number, file in enumerate(pair.masks) if file is not None]
    shape = next((mask.shape for mask in masks if mask.shape), None)
    try:
        size = image_size(pair.image, mask_shape=shape)
    except DataError as error:
        return [Finding(pair.image, 0, problem=str(error)), *(mask for mask in masks if mask.problem)]
    return [_fitting(mask, pair.image, size) for mask in masks]


def _look_into(file: Path, number: int) -> Finding:
    try:
        mask = read_mask(file)
    except DataError as error:
        return Finding(file, number, problem=str(error))
    return Finding(file, number, mask.shape, held_values(mask))


def _fitting(mask: Finding, image: Path, size: tuple[int, int]) -> Finding:
    """Turn the finding of a mask that does not fit its image into a problem."""
    if mask.problem or mask.shape == size:
        return mask
    return Finding(mask.mask, mask.number, problem=wrong_size(mask.mask, mask.shape, image, size))


def _values(values: Sequence[int]) -> str:
    """Write ``0 and 255``, ``0, 1 and 255``, or the ends of a long list."""
    if len(values) == 1 or len(values) > MOST:
        return listing(values)
    return f"{listing(values[:-1])} and {values[-1]}"
