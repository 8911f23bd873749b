"""Looking into pairs of files before training, so that a bad one is named now and not in the third epoch."""

import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segtrain.data.images import fits
from segtrain.data.inspection import ImageFacts, Inspector, MaskFacts
from segtrain.data.labels import INEXACT, LabelMap, listing
from segtrain.data.pairs import Pair
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

log = logging.getLogger(__name__)

MOST = 8  # problems that are shown
FULL_RANGE = {"uint16": 65535.0, "float32": 1.0}
FEW = 15  # cameras of 12 bits fill a sixteenth of 16 bits


class Finding(NamedTuple):
    """What a look into the files of a pair showed, or why they cannot be used."""

    pair: Pair
    image: ImageFacts | None = None
    masks: tuple[MaskFacts | None, ...] = ()
    problems: tuple[str, ...] = ()


def verify_pairs(
    pairs: Sequence[Pair],
    labels: LabelMap,
    class_names: Sequence[str],
    *,
    channels: int = 3,
    value_range: tuple[float, float] | None = None,
) -> list[set[int]]:
    """Check all pairs, and return the values that the first, second, ... mask of each holds.

    Raises one `DataError` with a line for each problem.
    """
    inspector = Inspector(file for pair in pairs for file in (pair.image, *pair.masks) if file is not None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = list(pool.map(lambda pair: _look(pair, inspector), pairs))
    inspector.keep()
    images = {finding.pair.image: finding.image for finding in findings if finding.image}
    problems = [problem for finding in findings for problem in finding.problems]
    problems = first_few([*problems, *odd_images(images, channels)])
    masks = [
        (file, facts)
        for finding in findings
        for file, facts in zip(finding.pair.masks, finding.masks, strict=False)
        if file is not None and facts is not None
    ]
    problems += [*_strange(masks, labels, class_names), *_palettes_that_differ(masks)]
    if problems:
        raise DataError("\n".join(problems))
    if value_range is None:
        mention_range(list(images.values()))
    held: list[set[int]] = [set() for _ in pairs[0].masks]
    for finding in findings:
        for values, facts in zip(held, finding.masks, strict=True):
            values.update(facts.counts if facts else ())
    return held


def _strange(masks: Sequence[tuple[Path, MaskFacts]], labels: LabelMap, class_names: Sequence[str]) -> list[str]:
    """Describe masks that hold values without a label, in one line."""
    strange = [(file, facts) for file, facts in masks if labels.unknown(facts.counts)]
    if not strange:
        return []
    values = {value for _, facts in masks for value in facts.counts}
    file, facts = strange[0]
    remedy = labels.remedy(values, class_names)
    return [strange_values(file, tuple(facts.counts), labels, remedy, masks=len(strange))]


def _palettes_that_differ(masks: Sequence[tuple[Path, MaskFacts]]) -> list[str]:
    """Describe the first index that stands for one colour in one mask and for another in another."""
    seen: dict[int, tuple[Path, tuple[int, int, int]]] = {}
    for file, facts in masks:
        for value, colour in facts.colours.items():
            first, before = seen.setdefault(value, (file, colour))
            if before != colour:
                return [
                    f"{file}: {value} is the colour {_rgb(colour)} in its palette, and {_rgb(before)} in that of "
                    f"{first}, expected one palette for all masks; save them with the same one"
                ]
    return []


def _rgb(colour: tuple[int, int, int]) -> str:
    return "-".join(map(str, colour))


def odd_images(images: Mapping[Path, ImageFacts], channels: int) -> list[str]:
    """Describe images of other channels than asked for, or of another type of number than the rest."""
    unfit = [file for file, facts in images.items() if not fits(facts.channels, facts.colours, channels)]
    if unfit:
        found, others = images[unfit[0]].channels, len(images) - len(unfit)
        remedy = f"set data.channels={found}" if len(unfit) > others else "convert or remove it"
        count = f"({len(unfit)} of {len(images)} images are so)"
        return [f"{unfit[0]}: the image has {found} channels, expected {channels}; {remedy} {count}"]
    types = Counter(facts.dtype for facts in images.values()).most_common()
    odd = [file for file, facts in images.items() if facts.dtype != types[0][0]]
    if odd:
        (usual, of_them), first = types[0], odd[0]
        return [f"{first}: holds {images[first].dtype}, expected {usual} as in {of_them} others; convert or remove it"]
    return []


def mention_range(images: Sequence[ImageFacts]) -> None:
    """Say so where pixels of more than 8 bits do not fill the range that the model takes them for."""
    dtype = images[0].dtype
    full = FULL_RANGE.get(dtype)
    low, high = min(facts.low for facts in images), max(facts.high for facts in images)
    if full and (low < 0 or high > full or high <= full / FEW):
        ends = f"[{min(low, 0.0):g},{_full_scale(high):g}]"
        log.warning(
            "pixels are %s from %g to %g, but the model takes 0 to %g for black to white; set data.value_range=%s",
            *(dtype, low, high, full, ends),
        )


def _full_scale(high: float) -> float:
    """Guess the white that pixel values up to ``high`` were made for: of that many bits, if whole."""
    return 2 ** math.ceil(math.log2(high + 1)) - 1 if high > 1 and high == round(high) else high


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


def _look(pair: Pair, inspector: Inspector) -> Finding:
    problems: list[str] = []
    masks: list[MaskFacts | None] = []
    for file in pair.masks:
        try:
            masks.append(None if file is None else inspector.mask(file))
        except DataError as error:
            problems.append(str(error))
            masks.append(None)
    try:
        image = inspector.image(pair.image)
    except DataError as error:
        return Finding(pair, None, tuple(masks), (str(error), *problems))
    size = image.size(next((mask.shape for mask in masks if mask), None))
    for number, (file, mask) in enumerate(zip(pair.masks, masks, strict=True)):
        if file is not None and mask is not None and mask.shape != size:
            problems.append(wrong_size(file, mask.shape, pair.image, size))
            masks[number] = None
    return Finding(pair, image, tuple(masks), tuple(problems))


def _values(values: Sequence[int]) -> str:
    """Write ``0 and 255``, ``0, 1 and 255``, or the ends of a long list."""
    if len(values) == 1 or len(values) > MOST:
        return listing(values)
    return f"{listing(values[:-1])} and {values[-1]}"
