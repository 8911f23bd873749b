"""Verification of all image and mask files before training, so that no bad file stops it in mid-epoch.

It is the cheap part of `segtrain check`: what can be told without decoding every image in full.
"""

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from segtrain.data.doctor.finding import MOST, Finding, Level, first_few
from segtrain.data.doctor.image_checks import odd_channels, odd_range, odd_types
from segtrain.data.doctor.looking import ANNOTATION, Looked, in_threads, look_at
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
from segtrain.data.files.listing import Listing
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.stacked_masks import Stacking
from segtrain.data.files.stamps import digest_of
from segtrain.errors import DataError

log = logging.getLogger(__name__)

_FORMAT = 2  # part of the key of an outcome: raise it when checks change, and old outcomes are not found
_LOGGED = {"warning": logging.WARNING, "note": logging.INFO}


def verify_pairs(
    pairs: Listing,
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
    An outcome without problems is remembered: while no file changes, the next call asks for nothing but
    their sizes and times.
    """
    stamps = digest_of(pairs.files(), pairs.drawing_stamps())  # before the look: what changes during it counts
    options = [labels.by_colour, labels.label_names, class_names, channels, value_range, max_pixels, stacking, skip]
    key = hashlib.sha256(f"{_FORMAT} {stamps} {options}".encode() + labels.table.tobytes()).hexdigest()
    outcome = None if stamps is None else recall("verified", key)
    if outcome is None:
        outcome = _look(pairs, labels, class_names, channels, value_range, max_pixels, stacking, skip=skip)
        if stamps is not None:
            remember("verified", key, outcome)
    for level, text in outcome["remarks"]:
        log.log(_LOGGED[level], "%s", text)
    return [set(values) for values in outcome["held"]], outcome["bad"]


def _look(
    pairs: Listing,
    labels: LabelMap,
    class_names: Sequence[str],
    channels: int,
    value_range: tuple[float, float] | None,
    max_pixels: int,
    stacking: Stacking | None,
    *,
    skip: bool,
) -> dict[str, list[Any]]:
    """Look into all files; returns remarks, the values that the masks of each class hold, and the bad pairs."""
    inspector = Inspector(pairs.files(), channels=channels, max_pixels=max_pixels, stacking=stacking)
    looked = in_threads(partial(look_at, inspector=inspector, by_colour=labels.by_colour), pairs)
    said: list[tuple[Level, str]] = []
    bad = [number for number, each in enumerate(looked) if skip and each.fatal()]
    if bad:
        lines = [str(finding) for number in bad for finding in looked[number].fatal()]
        said = [("warning", "\n".join([f"{len(bad)} of {len(pairs)} samples are left out:", *first_few(lines)]))]
        looked = [each for number, each in enumerate(looked) if number not in set(bad)]
    of_files, of_masks = problems_of_files(looked, channels), problems_of_masks(looked, inspector, labels, class_names)
    inspector.keep()  # also where it fails: a second try looks into the corrected files alone
    if of_files or of_masks:
        only = of_files[0] if len(of_files) == 1 and not of_masks else None
        # its own error where it is alone: evaluation rewords a ChannelsError for a checkpoint
        lines = [*first_few(list(map(str, of_files))), *map(str, of_masks)]
        raise only.error if only and only.error else DataError("\n".join(lines))
    said += [("warning", line) for line in _left_out(looked)]
    single = [each for one in looked for each in one.findings if each.level != "fatal" and each.kind != ANNOTATION]
    found = [*single[:MOST], *remarks(looked, labels, ranged=value_range is not None)]
    said += [(finding.level, str(finding)) for finding in found]
    return {"remarks": said, "held": [sorted(values) for values in values_by_class(looked)], "bad": bad}


def _left_out(looked: Sequence[Looked]) -> list[str]:
    """Return one text on all bad annotations that are left out; nothing without any."""
    lines = [str(finding) for each in looked for finding in each.findings if finding.kind == ANNOTATION]
    if not lines:
        return []
    said = f"{len(lines)} annotations are left out, so their pixels count as what lies around them:"
    return ["\n".join([said, *first_few(lines)])]


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
    found = [finding.or_left_out() for each in looked for finding in each.fatal()]
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
    return [
        *palette_colours(masks, labels),
        *lossy_masks(masks),
        *([] if ranged else odd_range(images)),
    ]
