"""What file names tell: names that clash on other disks, and frames of one scene on both sides of a split."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from segtrain.data.doctor.duplicates import Seen, is_flat
from segtrain.data.doctor.finding import Finding
from segtrain.data.doctor.hashes import distance
from segtrain.data.doctor.subject import Subject

ALIKE = 18  # of 64 bits of the perceptual hash: neighbouring frames of a video differ in less, photos in 32 ± 4
_NUMBERED = re.compile(r"(.*?)(\d+)\D*")


def names_that_clash(files: Iterable[Path]) -> list[Finding]:
    """Find names in one folder that are one on a disk that ignores case, as of macOS and Windows."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in files:
        groups[file.parent, unicodedata.normalize("NFC", file.name).casefold()].append(file)
    found = []
    for (folder, _), group in groups.items():
        distinct = sorted(set(group))
        if len(distinct) > 1:
            text = f"{distinct[1].name} there differs in case alone; disks of macOS and Windows hold one of them"
            found.append(Finding("warning", "names clash", tuple(distinct), text, f"rename one of them in {folder}"))
    return found


def groups_in_two_splits(subjects: Sequence[Subject]) -> list[Finding]:
    """Find groups of ``data.group`` of which two splits have images."""
    seen: dict[str, tuple[str, Path]] = {}
    torn: dict[str, Finding] = {}
    for subject in subjects:
        for group, image in zip(subject.groups or (), subject.pairs.images, strict=False):
            before, first = seen.setdefault(group, (subject.split, Path(image)))
            if before != subject.split and group not in torn:
                text = f"is in {subject.split}, and {first} of the same group, {group}, in {before}, expected one side"
                remedy = "move its files to one split, or set data.group=null"
                torn[group] = Finding("fatal", "group in two splits", (Path(image), first), text, remedy)
    return list(torn.values())


def scenes_in_two_splits(images: Sequence[Seen]) -> list[Finding]:
    """Find frames that follow on each other, by names and looks, in two splits; one finding a scene."""
    found = []
    for prefix, frames in _sequences(images).items():
        torn = [
            (one, other)
            for (_, one), (_, other) in pairwise(frames)
            if one.split != other.split and distance(one.content.looks, other.content.looks) <= ALIKE
        ]
        if torn:
            first, second = torn[0]
            text = (
                f"in {first.split}, and {second.file.name}, the next frame of it, in {second.split}, "
                f"expected all of scene {prefix!r} in one split"
            )
            files = tuple(dict.fromkeys(seen.file for pair in torn for seen in pair))
            remedy = "keep the frames of a scene together, by folders or lists of splits"
            count = f"({len(torn)} such neighbours)" if len(torn) > 1 else ""
            found.append(Finding("warning", "scene in two splits", files, text, remedy, count))
    return found


def _sequences(images: Sequence[Seen]) -> dict[str, list[tuple[int, Seen]]]:
    """Sort images with a running number by it, by prefix; without what all names end in, ``_leftImg8bit``."""
    ending = _common_ending([seen.file.stem for seen in images])
    groups: dict[str, list[tuple[int, Seen]]] = defaultdict(list)
    for seen in images:
        stem = seen.file.stem
        match = _NUMBERED.fullmatch(stem[: len(stem) - ending])
        if match and not is_flat(seen.content):
            groups[match[1]].append((int(match[2]), seen))
    return {prefix: sorted(frames, key=lambda frame: frame[0]) for prefix, frames in groups.items()}


def _common_ending(names: Sequence[str]) -> int:
    """Count the characters at the end that all names share, digits before them left out: these may be so by chance."""
    if len(names) < 2:
        return 0
    first, last = min(name[::-1] for name in names), max(name[::-1] for name in names)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    return len(first[:same].rstrip("0123456789"))
