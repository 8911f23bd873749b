"""Verification of all image and mask files before training, so that no bad file stops it in mid-epoch.

It is the cheap part of `segtrain check`: what can be told without decoding every image in full.
"""

import logging
from collections.abc import Sequence

from segtrain.data.doctor.finding import MOST, Finding, first_few
from segtrain.data.doctor.image_checks import odd_channels, odd_range, odd_types
from segtrain.data.doctor.looking import ANNOTATION, Looked, look_at_pairs
from segtrain.data.doctor.mask_checks import (
    coloured_masks,
    lossy_masks,
    palette_colours,
    palettes_that_differ,
    swapped_folders,
    without_label,
)
from segtrain.data.files.images import MAX_PIXELS
from segtrain.data.files.inspection import Inspector
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Pair
from segtrain.data.files.stacked_masks import Stacking
from segtrain.errors import DataError

log = logging.getLogger(__name__)

_LOGGED = {"warning": logging.WARNING, "note": logging.INFO}


def verify_pairs(
    pairs: Sequence[Pair],
    labels: LabelMap,
    class_names: Sequence[str],
    *,
    channels: int = 3,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    skip: bool = False,
    stacking: Stacking | None = None,
) -> tuple[list[set[int]], list[int]]:
    """Check all pairs; returns, for the mask of each class, the set of values in all files, and bad pairs.

    Raises one `DataError` with a line for each problem. With ``skip``, pairs of unusable files are
    warned of instead; their numbers are returned. ``stacking`` says how a file holds all classes.
    """
    files = (str(file) for pair in pairs for file in (pair.image, *pair.masks) if file is not None)
    inspector = Inspector(files, channels=channels, max_pixels=max_pixels, stacking=stacking)
    looked = look_at_pairs(pairs, inspector, by_colour=labels.by_colour)
    bad = [number for number, each in enumerate(looked) if skip and each.fatal()]
    if bad:
        lines = [str(finding) for number in bad for finding in looked[number].fatal()]
        log.warning("%d of %d samples are left out:\n%s", len(bad), len(pairs), "\n".join(first_few(lines)))
        looked = [each for number, each in enumerate(looked) if number not in set(bad)]
    of_files, of_masks = problems_of_files(looked, channels), problems_of_masks(looked, inspector, labels, class_names)
    inspector.keep()  # also where it fails: a second try looks into the corrected files alone
    if of_files or of_masks:
        only = of_files[0] if len(of_files) == 1 and not of_masks else None
        # its own error where it is alone: evaluation rewords a ChannelsError for a checkpoint
        lines = [*first_few(list(map(str, of_files))), *map(str, of_masks)]
        raise only.error if only and only.error else DataError("\n".join(lines))
    _tell_what_is_left_out(looked)
    for finding in remarks(looked, labels, ranged=value_range is not None):
        log.log(_LOGGED[finding.level], "%s", finding)
    return values_by_class(looked), bad


def _tell_what_is_left_out(looked: Sequence[Looked]) -> None:
    """Warn once of all bad annotations that are left out."""
    lines = [str(finding) for each in looked for finding in each.findings if finding.kind == ANNOTATION]
    if lines:
        log.warning("%d annotations are left out:\n%s", len(lines), "\n".join(first_few(lines)))


def values_by_class(looked: Sequence[Looked]) -> list[set[int]]:
    """Return, for the mask of each class, the set of values in all files."""
    held: list[set[int]] = [set() for _ in looked[0].pair.masks] if looked else []
    for each in looked:
        for values, facts in zip(held, each.masks, strict=True):
            values.update(facts.counts if facts else ())
    return held


def problems_of_files(looked: Sequence[Looked], channels: int) -> list[Finding]:
    """List what is fatal about single files, and images that are unlike the rest."""
    images = {each.pair.image: each.image for each in looked if each.image}
    found = [finding for each in looked for finding in each.fatal()]
    return [*found, *(odd_channels(images, channels) or odd_types(images))]


def problems_of_masks(
    looked: Sequence[Looked], inspector: Inspector, labels: LabelMap, class_names: Sequence[str]
) -> list[Finding]:
    """List what is fatal about the values and colours of all masks together."""
    masks = [mask for each in looked for mask in each.mask_files()]
    coloured = [file for each in looked for file in each.coloured]
    found = [*coloured_masks(coloured, inspector, labels), *without_label(masks, labels, class_names)]
    if found and (swapped := swapped_folders(looked, inspector)):
        found = [swapped]  # explains all the others
    return [*found, *palettes_that_differ({file: facts.colours for file, facts in masks}, labels)]


def remarks(looked: Sequence[Looked], labels: LabelMap, *, ranged: bool) -> list[Finding]:
    """List what is worth a line though training may start; ``ranged``: black and white are given."""
    masks = [mask for each in looked for mask in each.mask_files()]
    images = [each.image for each in looked if each.image]
    single = [finding for each in looked for finding in each.findings if finding.level != "fatal"]
    return [
        *[finding for finding in single if finding.kind != ANNOTATION][:MOST],
        *palette_colours(masks, labels),
        *lossy_masks(masks),
        *([] if ranged else odd_range(images)),
    ]
