"""Images that occur twice: the same file, or one that looks the same, in two splits or in one."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from segtrain.data.doctor.content import Content
from segtrain.data.doctor.finding import Finding
from segtrain.data.doctor.hashes import distance, near_hashes
from segtrain.data.doctor.subject import Subject
from segtrain.data.files.labels import listing

NEAR = 6  # of 64 bits of the perceptual hash; two photos that have nothing in common differ in 32 ± 4
SLOPES = 12  # of 64 bits of the gradient hash, a second opinion of another kind
FLAT = 2.0  # percent of the range that pixels deviate by: less is no picture that could be recognised


class Seen(NamedTuple):
    """An image of a split, with its content."""

    split: str
    file: Path
    content: Content


def leaks(images: Sequence[Seen]) -> list[Finding]:
    """Find images of one split that are in another too: the same bytes, or what looks the same."""
    equal = _equal_in_two_splits((seen.split, seen.file, seen.content.digest) for seen in images)
    same = {frozenset(finding.files) for finding in equal}
    near = [_near(pair) for pair in _look_alikes(images)]
    return [*equal, *(finding for finding in near if frozenset(finding.files) not in same)]


def same_files(subjects: Sequence[Subject]) -> list[Finding]:
    """Find image files of two splits with the same bytes; quick, as only files of equal size are read."""
    by_size: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for subject in subjects:
        for image in subject.pairs.images:
            with suppress(OSError):  # data.check=false: reading it says that it is missing
                by_size[os.stat(image).st_size].append((subject.split, image))  # noqa: PTH116 - a million of them
    groups = [group for group in by_size.values() if len({split for split, _ in group}) > 1]
    return _equal_in_two_splits(
        (split, Path(file), hashlib.blake2b(Path(file).read_bytes()).hexdigest())
        for group in groups
        for split, file in group
    )


def doubles(images: Sequence[Seen]) -> list[Finding]:
    """Note images that are twice in one split: they count twice."""
    found = []
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for seen in images:
        groups[seen.split, seen.content.digest].append(seen.file)
    for (split, _), same in groups.items():
        files = tuple(dict.fromkeys(same))  # a file that is listed twice is no double
        if len(files) < 2:
            continue
        text = f"the same file as {listing((file.name for file in files[1:]), most=3)}, all in {split}"
        found.append(Finding("note", "duplicate", files, text, "remove the others: this image counts more than once"))
    return found


def _equal_in_two_splits(files: Iterable[tuple[str, Path, str]]) -> list[Finding]:
    """Find files, each with its split and digest, whose bytes an earlier split has too."""
    firsts: dict[str, tuple[str, Path]] = {}
    found = []
    for split, file, digest in files:
        earlier, first = firsts.setdefault(digest, (split, file))
        if earlier != split:
            text = f"in {split}, is the same file as {first} in {earlier}, expected images of one split alone"
            found.append(Finding("fatal", "leak", (file, first), text, _REMEDY))
    return found


def _look_alikes(images: Sequence[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Yield pairs of two splits that look the same, for each two hashes the first image of each split."""
    by_hash: dict[int, dict[str, Seen]] = defaultdict(dict)
    for seen in images:
        if not is_flat(seen.content):
            by_hash[seen.content.looks].setdefault(seen.split, seen)
    for firsts in by_hash.values():
        yield from filter(_confirmed, combinations(firsts.values(), 2))
    for one, other in near_hashes(by_hash, NEAR):
        yield from filter(_confirmed, product(by_hash[one].values(), by_hash[other].values()))


def _confirmed(pair: tuple[Seen, Seen]) -> bool:
    one, other = pair
    return one.split != other.split and distance(one.content.slopes, other.content.slopes) <= SLOPES


def is_flat(content: Content) -> bool:
    """Tell whether all bands are nearly constant, so that hashes say nothing."""
    return all(band.std <= FLAT / 100 * max(abs(band.high), abs(band.low), 1e-9) for band in content.bands)


_REMEDY = "remove one of them: a score on what was trained on flatters"


def _near(pair: tuple[Seen, Seen]) -> Finding:
    one, other = pair
    text = f"in {other.split}, looks the same as {one.file} in {one.split}, expected images of one split alone"
    return Finding("warning", "near leak", (other.file, one.file), text, _REMEDY)
