"""Checks of images against each other and against what the model takes, over facts that were found before."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segtrain.data.doctor.finding import Finding
from segtrain.data.files.images import ChannelsError, fits
from segtrain.data.files.inspection import ImageFacts

FULL_RANGE = {"uint16": 65535.0, "float32": 1.0}  # the white that a model assumes, by dtype
FEW = 15  # 1/15 of the range is too dark: 12 bits fill 1/16 of 16 bits


def odd_channels(images: Mapping[Path, ImageFacts], channels: int) -> list[Finding]:
    """Describe images with another number of channels than asked for."""
    unfit = [file for file, facts in images.items() if not fits(facts.channels, facts.colours, channels)]
    if not unfit:
        return []
    found, others = images[unfit[0]].channels, len(images) - len(unfit)
    remedy = f"train with data.channels={found}" if len(unfit) > others else "convert or remove it"
    count = f"({len(unfit)} of {len(images)} images are so)"
    return [Finding.of_error(ChannelsError(unfit[0], found, channels, f"{remedy} {count}"), *unfit)]


def odd_types(images: Mapping[Path, ImageFacts]) -> list[Finding]:
    """Describe images of another dtype than the rest."""
    types = Counter(facts.dtype for facts in images.values()).most_common()
    odd = [file for file, facts in images.items() if facts.dtype != types[0][0]]
    if not odd:
        return []
    (usual, of_them), found = types[0], images[odd[0]].dtype
    text = f"holds {found}, expected {usual} as in {of_them} others"
    return [Finding("fatal", "type of number", tuple(odd), text, "convert or remove it")]


def odd_range(images: Sequence[ImageFacts]) -> list[Finding]:
    """Describe pixels of 16 bits or floats that do not fill the range that the model assumes."""
    if not images:
        return []
    dtype = images[0].dtype
    full = FULL_RANGE.get(dtype)
    low, high = min(facts.low for facts in images), max(facts.high for facts in images)
    if not full or (low >= 0 and full / FEW < high <= full):
        return []
    ends = f"[{min(low, 0.0):g},{_full_scale(high):g}]"
    text = f"pixels are {dtype} from {low:g} to {high:g}, but the model takes 0 to {full:g} for black to white"
    return [Finding("warning", "value range", (), text, f"set data.value_range={ends}")]


def _full_scale(high: float) -> float:
    """Guess the value of white from the greatest value: for whole numbers 2**bits - 1, else ``high``."""
    if high > 1 and high == round(high):
        return 2.0 ** math.ceil(math.log2(high + 1)) - 1  # 3800 -> 4095
    return high
