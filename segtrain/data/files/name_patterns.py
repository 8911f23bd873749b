"""Name patterns, ``*_mask``, that pair images and masks of different names, and suggestions for them."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from itertools import islice
from os.path import commonprefix
from pathlib import PurePosixPath
from typing import NamedTuple

from segtrain.config.words import typed
from segtrain.data.files.walk import SUFFIXES, without_suffix
from segtrain.errors import ConfigError

SHARED = "*"
"""Stands for the part that the names of an image and its mask have in common."""
_MOST = 0.5  # share of the images that a rule has to pair to be suggested
_TRIED = 3  # names from which an affix common to all is guessed


class NamePatterns(NamedTuple):
    """Patterns for the stems of images and masks: mask ``*_mask`` pairs ``a_mask.png`` with ``a.jpg``."""

    image: str = SHARED
    mask: str = SHARED


ALIKE = NamePatterns()


def check_patterns(patterns: NamePatterns) -> None:
    """Raise `ConfigError` for a pattern without exactly one ``*``, or with a slash."""
    for key, pattern in zip(("image_name", "mask_name"), patterns, strict=True):
        if pattern.count(SHARED) != 1 or "/" in pattern:
            raise ConfigError(
                f"data.{key}: {pattern!r}, expected a name without suffix, with one * for what images and masks share, "
                f"such as {typed(f'data.{key}=*_{key[:4]}')}"
            )


def shared_name(name: str, pattern: str) -> str | None:
    """Return the part of a path that ``*`` stands for, its folder kept; None where it does not match."""
    folder, slash, last = name.rpartition("/")
    before, _, after = pattern.partition(SHARED)
    is_longer = len(last) > len(before) + len(after)  # ``*`` stands for at least one letter
    if not (is_longer and last.startswith(before) and last.endswith(after)):
        return None
    return folder + slash + last[len(before) : len(last) - len(after)]


def name_remedy(images: Collection[str], masks: Collection[str]) -> str | None:
    """Suggest patterns that pair most of the images and masks left over; None where none does.

    It is only suggested: nothing is paired by a guess.
    """
    found = [(_paired(images, masks, patterns), patterns) for patterns in _candidates(images, masks)]
    pairs, patterns = max(found, key=lambda each: len(each[0]))
    rules: dict[str, Callable[[str], str]] = {
        "in capital letters": str.lower,
        "in leading zeros": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
        "by suffixes within them": _without_suffix,  # a.jpg and a.jpg.png
    }
    for said, rule in rules.items():  # differences that no pattern can express
        alike = set(map(rule, images)) & set(map(rule, masks))
        if len(alike) > max(len(pairs), _MOST * len(images)):
            return f"names differ {said}: rename one of the two kinds"
    if len(pairs) <= _MOST * len(images):
        return None
    image, mask = min(pairs.items())
    keys = {"data.image_name": patterns.image, "data.mask_name": patterns.mask}
    words = " ".join(typed(f"{key}={pattern}") for key, pattern in keys.items() if pattern != SHARED)
    return f"if {image} and {mask} belong together, set {words}"


def pattern_beside(names: Set[str], words: Sequence[str]) -> NamePatterns | None:
    """Return the pattern of masks among the stems of a folder that holds their images too; None without any.

    One of ``words`` is in it. Each mask has its image, and most images a mask.
    """
    called = sorted(name for name in names if any(word in name.lower() for word in words))
    for name in islice(called, _TRIED):
        mask = _around(name, names - {name})
        if not any(word in mask.lower() for word in words):
            continue
        shared = {name: shared_name(name, mask) for name in names}
        images = {name for name, stem in shared.items() if stem is None}
        masked = {stem for stem in shared.values() if stem is not None}
        if masked <= images and len(masked) > _MOST * len(images):
            return NamePatterns(mask=mask)
    return None


def _candidates(images: Collection[str], masks: Collection[str]) -> Iterator[NamePatterns]:
    """Guess patterns: an affix on the masks or the images alone, then one on each."""
    for name in islice(sorted(masks), _TRIED):
        yield NamePatterns(mask=_around(name, images))
    for name in islice(sorted(images), _TRIED):
        yield NamePatterns(image=_around(name, masks))
    yield _words_of_each(images, masks)


def _around(longer: str, names: Iterable[str]) -> str:
    """Replace the longest of the names that a longer one contains with ``*``; ``*`` alone without any."""
    longer = PurePosixPath(longer).name
    within = max((name for name in map(_last, names) if name in longer), key=len, default="")
    return longer.replace(within, SHARED, 1) if within else SHARED


def _words_of_each(images: Iterable[str], masks: Iterable[str]) -> NamePatterns:
    """Build patterns of the prefixes and suffixes common to all images, and to all masks."""
    kinds = [list(map(_last, images)), list(map(_last, masks))]
    reversed_kinds = [[name[::-1] for name in names] for names in kinds]  # a suffix is a prefix backwards
    heads = _apart(*map(_beginning, kinds))
    tails = _apart(*map(_beginning, reversed_kinds))
    return NamePatterns(heads[0] + SHARED + tails[0][::-1], heads[1] + SHARED + tails[1][::-1])


def _apart(one: str, other: str) -> tuple[str, str]:
    """Remove the common end of both, up to a separator: of ``image_0`` and ``mask_0`` the ``0``."""
    both = len(_beginning([one[::-1], other[::-1]]).rstrip("_-. "))
    return one[: len(one) - both], other[: len(other) - both]


def _beginning(names: Sequence[str]) -> str:
    """Return the longest common prefix of the names."""
    return commonprefix(names)  # noqa: RUF071 - letter by letter is what is wanted


def _paired(images: Iterable[str], masks: Collection[str], patterns: NamePatterns) -> dict[str, str]:
    """Return the images that match their pattern and have a mask, with the name of the mask."""
    pairs: dict[str, str] = {}
    for image in images:
        shared = shared_name(image, patterns.image)
        if shared is not None and patterns != ALIKE:
            folder, slash, last = shared.rpartition("/")
            pairs[image] = folder + slash + patterns.mask.replace(SHARED, last)
    return {image: mask for image, mask in pairs.items() if mask in masks}


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _without_suffix(name: str) -> str:
    return without_suffix(PurePosixPath(name)) if name.lower().endswith(SUFFIXES) else name
