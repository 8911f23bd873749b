"""Verification of all image and mask files before training, so that no bad file stops it in mid-epoch."""

import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from segtrain.data.files.class_map import pack
from segtrain.data.files.images import JPEG, MAX_PIXELS, RIFF, ChannelsError, ColourMaskError, fits
from segtrain.data.files.inspection import ImageFacts, Inspector, MaskFacts
from segtrain.data.files.labels import INEXACT, MANY, LabelMap, listing
from segtrain.data.files.pairs import Pair
from segtrain.data.sample import Pixels
from segtrain.errors import DataError

log = logging.getLogger(__name__)

RGB: TypeAlias = tuple[int, int, int]
MOST = 8  # problems to show
FULL_RANGE = {"uint16": 65535.0, "float32": 1.0}  # the white that a model assumes, by dtype
_LOOKED_AT = 3  # pairs to decide from whether images and masks are swapped
_HEAD = 64  # bytes of a WebP in which the chunk of a lossy one, "VP8 ", begins
FEW = 15  # 1/15 of the range is too dark: 12 bits fill 1/16 of 16 bits


class Finding(NamedTuple):
    """What the inspection of a pair found: facts on its files, or problems; masks of colours apart."""

    pair: Pair
    image: ImageFacts | None = None
    masks: tuple[MaskFacts | None, ...] = ()
    problems: tuple[str, ...] = ()
    coloured: tuple[Path, ...] = ()


def verify_pairs(
    pairs: Sequence[Pair],
    labels: LabelMap,
    class_names: Sequence[str],
    *,
    channels: int = 3,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[set[int]]:
    """Check all pairs; returns, for the mask of each class, the set of values in all files.

    Raises one `DataError` with a line for each problem.
    """
    files = (file for pair in pairs for file in (pair.image, *pair.masks) if file is not None)
    inspector = Inspector(files, max_pixels=max_pixels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: decoding releases the GIL
        findings = list(pool.map(lambda pair: _look(pair, inspector, by_colour=labels.by_colour), pairs))
    images = {finding.pair.image: finding.image for finding in findings if finding.image}
    problems = [problem for finding in findings for problem in finding.problems]
    unfit = odd_channels(images, channels)
    problems += [str(unfit)] if unfit else odd_types(images)
    problems = first_few(problems)
    masks = [
        (file, facts)
        for finding in findings
        for file, facts in zip(finding.pair.masks, finding.masks, strict=False)
        if file is not None and facts is not None
    ]
    coloured = [file for finding in findings for file in finding.coloured]
    in_masks = [*_coloured(coloured, inspector, labels), *_strange(masks, labels, class_names)]
    swapped = _swapped(findings, inspector) if in_masks else None  # explains all problems of masks
    problems += [swapped] if swapped else in_masks
    problems += palettes_that_differ({file: facts.colours for file, facts in masks}, labels)
    inspector.keep()  # also where it fails: a second try looks into the corrected files alone
    if problems:
        # its own type where it is alone: evaluation rewords a ChannelsError for a checkpoint
        raise unfit if unfit and len(problems) == 1 else DataError("\n".join(problems))
    mention_palette(masks, labels)
    warn_of_lossy([file for file, _ in masks])
    if value_range is None:
        mention_range(list(images.values()))
    held: list[set[int]] = [set() for _ in pairs[0].masks]
    for finding in findings:
        for values, facts in zip(held, finding.masks, strict=True):
            values.update(facts.counts if facts else ())
    return held


def _strange(masks: Sequence[tuple[Path, MaskFacts]], labels: LabelMap, class_names: Sequence[str]) -> list[str]:
    """Describe masks with values without a label, in one line; names the one of most distinct values."""
    strange = [(file, facts) for file, facts in masks if labels.unknown(facts.counts)]
    if not strange:
        return []
    counts: Counter[int] = Counter()
    for _, facts in masks:
        counts.update(facts.counts)
    file, facts = max(strange, key=lambda mask: len(mask[1].counts))
    remedy = labels.remedy(counts, class_names)
    return [strange_values(file, tuple(facts.counts), labels, remedy, masks=len(strange))]


def _coloured(files: Sequence[Path], inspector: Inspector, labels: LabelMap) -> list[str]:
    """Describe masks that hold colours, in one line with a class map of all their colours."""
    if not files:
        return []
    counts: Counter[int] = Counter()
    for file in files:
        counts.update(inspector.mask(file, by_colour=True).counts)
    others = f" ({len(files)} masks hold colours)" if len(files) > 1 else ""
    if len(counts) > MANY:
        return [f"{files[0]}: the mask holds colours, {len(counts)} of them in all masks; {INEXACT}{others}"]
    remedy = _by_colour(labels).fill_in(sorted(counts))
    return [f"{files[0]}: the mask holds colours, expected label values; {remedy}{others}"]


def _swapped(findings: Sequence[Finding], inspector: Inspector) -> str | None:
    """Describe swapped folders, where masks look like photos and images like masks; else None."""
    some = [finding for finding in findings if finding.image][:_LOOKED_AT]
    masks = [file for finding in some for file in finding.pair.masks if file is not None]
    try:
        photos = all(len(inspector.mask(file, by_colour=True).counts) > MANY for file in masks)
        if not (masks and photos):
            return None
        values = {value for finding in some for value in inspector.mask(finding.pair.image).counts}
    except DataError:  # an image of colours, or a mask of 16 bits
        return None
    if len(values) > MANY:
        return None
    return (
        f"{masks[0]}: the masks hold many colours as photos do, and the images few values ({listing(sorted(values))}) "
        "as masks do; are data.images and data.masks swapped? Give each the folder of the other"
    )


def warn_of_lossy(masks: Sequence[Path]) -> None:
    """Warn of masks in lossy formats: a class may be lost even if no strange value shows it."""
    lossy = [file for file in masks if _is_lossy(file)]
    if lossy:
        log.warning(
            "%s: %d of %d masks are JPEG or lossy WebP, which change label values, of small numbers to 0; "
            "save masks as PNG, from where they are whole",
            *(lossy[0], len(lossy), len(masks)),
        )


def _is_lossy(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return head.startswith(JPEG) or (head.startswith(RIFF) and b"VP8 " in head)


def palettes_that_differ(palettes: Mapping[Path, Mapping[int, RGB]], labels: LabelMap) -> list[str]:
    """Describe the first index that has different colours in the palettes of two masks, in one line.

    ``palettes`` are the colours of the values that each mask holds.
    """
    seen: dict[int, tuple[Path, RGB]] = {}  # index -> first mask with it, colour
    for file, palette in palettes.items():
        for value, colour in palette.items():
            first, before = seen.setdefault(value, (file, colour))
            if before != colour:
                colours = {pack(each) for colours in palettes.values() for each in colours.values()}
                return [
                    f"{file}: {value} is the colour {_rgb(colour)} in its palette, {_rgb(before)} in that of "
                    f"{first.name}, expected one palette; map colours: {_by_colour(labels).fill_in(sorted(colours))}"
                ]
    return []


def mention_palette(masks: Sequence[tuple[Path, MaskFacts]], labels: LabelMap) -> None:
    """Log the palette's colour of each label, as its order may not be that of the classes."""
    colours = {value: colour for _, facts in masks for value, colour in facts.colours.items()}
    shown = [f"{labels.name_of(value)} {_rgb(colours[value])}" for value in sorted(colours)]
    if shown:
        log.info(
            "colours in the palettes of the masks: %s; if one is not that class, map colours: "
            "'data.class_map={%s: 0, ...}'",
            *(listing(shown), _rgb(colours[min(colours)])),
        )


def _by_colour(labels: LabelMap) -> LabelMap:
    """Return a label map by colour with the same labels and no colours of classes yet."""
    # a single entry that no label has: it only makes the map one of colours
    return LabelMap(labels.label_names, class_map={"255-255-255": "ignore"})


def _rgb(colour: tuple[int, int, int]) -> str:
    return "-".join(map(str, colour))


def odd_channels(images: Mapping[Path, ImageFacts], channels: int) -> ChannelsError | None:
    """Describe images with another number of channels than asked for."""
    unfit = [file for file, facts in images.items() if not fits(facts.channels, facts.colours, channels)]
    if unfit:
        found, others = images[unfit[0]].channels, len(images) - len(unfit)
        remedy = f"train with data.channels={found}" if len(unfit) > others else "convert or remove it"
        count = f"({len(unfit)} of {len(images)} images are so)"
        return ChannelsError(unfit[0], found, channels, f"{remedy} {count}")
    return None


def odd_types(images: Mapping[Path, ImageFacts]) -> list[str]:
    """Describe images of another dtype than the rest."""
    types = Counter(facts.dtype for facts in images.values()).most_common()
    odd = [file for file, facts in images.items() if facts.dtype != types[0][0]]
    if odd:
        (usual, of_them), first = types[0], odd[0]
        return [f"{first}: holds {images[first].dtype}, expected {usual} as in {of_them} others; convert or remove it"]
    return []


def mention_range(images: Sequence[ImageFacts]) -> None:
    """Warn where pixels of 16 bits or floats do not fill the range that the model assumes."""
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
    """Guess the value of white from the greatest value: for whole numbers 2**bits - 1, else ``high``."""
    if high > 1 and high == round(high):
        return 2.0 ** math.ceil(math.log2(high + 1)) - 1  # 3800 -> 4095
    return high


def first_few(problems: Sequence[str]) -> list[str]:
    """Keep the first `MOST` problems, and count the rest in one more line."""
    rest = len(problems) - MOST
    return [*problems[:MOST], *([f"and {rest} more files with problems"] if rest > 0 else [])]


def held_values(mask: Pixels) -> tuple[int, ...]:
    """List the values that a mask ``(H, W)`` holds, ascending."""
    return tuple(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def strange_values(mask: Path, values: Sequence[int], labels: LabelMap, remedy: str, *, masks: int) -> str:
    """Describe one of several masks with values without a label; those of a JPEG are never exact."""
    remedy = INEXACT if mask.suffix.lower() in (".jpg", ".jpeg") else remedy
    others = f" ({masks} masks hold such values)" if masks > 1 else ""
    held = _values([labels.text(value) for value in values])
    return f"{mask}: mask holds {held}, expected {labels.expected}; {remedy}{others}"


def wrong_size(mask: Path, mask_size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> str:
    """Describe a mask that does not fit its image; sizes are ``(H, W)``."""
    turned = image_size == mask_size[::-1]
    remedy = "turn one of them by 90 degrees" if turned else "bring both to one size"
    sizes = f"mask of {mask_size[1]}x{mask_size[0]} pixels for an image of {image_size[1]}x{image_size[0]}"
    return f"{mask}: {sizes} ({image}); {remedy}"


def _look(pair: Pair, inspector: Inspector, *, by_colour: bool) -> Finding:
    """Inspect the files of a pair; collects problems instead of raising them."""
    problems: list[str] = []
    coloured: list[Path] = []
    masks: list[MaskFacts | None] = []
    for file in pair.masks:
        try:
            masks.append(None if file is None else inspector.mask(file, by_colour=by_colour))
        except ColourMaskError:
            coloured += [file] if file else []
            masks.append(None)
        except DataError as error:
            problems.append(str(error))
            masks.append(None)
    try:
        image = inspector.image(pair.image)
    except DataError as error:
        return Finding(pair, None, tuple(masks), (str(error), *problems), tuple(coloured))
    # the first mask decides for all of them whether the EXIF orientation applies, as in reading
    size = image.size(next((mask.shape for mask in masks if mask), None))
    for number, (file, mask) in enumerate(zip(pair.masks, masks, strict=True)):
        if file is not None and mask is not None and mask.shape != size:
            problems.append(wrong_size(file, mask.shape, pair.image, size))
            masks[number] = None  # its values are not judged: it may be the mask of another image
    return Finding(pair, image, tuple(masks), tuple(problems), tuple(coloured))


def _values(values: Sequence[object]) -> str:
    """Write ``0 and 255``, ``0, 1 and 255``, or the ends of a long list."""
    if len(values) == 1 or len(values) > MOST:
        return listing(values)
    return f"{listing(values[:-1])} and {values[-1]}"
