"""How images and masks that belong together are called, where their names are not alike."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from os.path import commonprefix
from pathlib import PurePosixPath
from typing import NamedTuple

from segtrain.config.words import typed
from segtrain.data.files import SUFFIXES
from segtrain.errors import ConfigError

SHARED = "*"
"""Stands for what the names of an image and its mask share."""
_MOST = 0.5  # of the names that a rule has to pair, to be the reason why they do not match
_TRIED = 3  # names from which a word that is added to all is guessed


class NamePatterns(NamedTuple):
    """The names of images and of masks, without suffix: ``*_mask`` for the mask ``a_mask.png`` of ``a.jpg``."""

    image: str = SHARED
    mask: str = SHARED


ALIKE = NamePatterns()


def check_patterns(patterns: NamePatterns) -> None:
    """Raise `ConfigError` for a pattern that does not say where the shared part of a name stands."""
    for key, pattern in zip(("image_name", "mask_name"), patterns, strict=True):
        if pattern.count(SHARED) != 1 or "/" in pattern:
            raise ConfigError(
                f"data.{key}: {pattern!r}, expected a name without suffix, with one * for what images and masks share, "
                f"such as {typed(f'data.{key}=*_{key[:4]}')}"
            )


def shared_name(name: str, pattern: str) -> str | None:
    """Take what a pattern has around ``*`` off the last part of a path; None where it does not fit."""
    folder, slash, last = name.rpartition("/")
    before, _, after = pattern.partition(SHARED)
    fits = last.startswith(before) and last.endswith(after) and len(last) > len(before) + len(after)
    return folder + slash + last[len(before) : len(last) - len(after)] if fits else None


def name_remedy(images: Collection[str], masks: Collection[str]) -> str | None:
    """Say what pairs most of the images and masks, of which none are alike; None where no rule does.

    What is proposed is the user's to decide: nothing is paired by a guess.
    """
    found = [(_paired(images, masks, patterns), patterns) for patterns in _candidates(images, masks)]
    pairs, patterns = max(found, key=lambda each: len(each[0]))
    rules: dict[str, Callable[[str], str]] = {
        "in capital letters": str.lower,
        "in leading zeros": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
        "by suffixes within them": _without_suffix,
    }
    for said, rule in rules.items():
        if len(set(map(rule, images)) & set(map(rule, masks))) > max(len(pairs), _MOST * len(images)):
            return f"names differ {said}: rename one of the two kinds"
    if len(pairs) <= _MOST * len(images):
        return None
    image, mask = min(pairs.items())
    keys = {"data.image_name": patterns.image, "data.mask_name": patterns.mask}
    words = " ".join(typed(f"{key}={pattern}") for key, pattern in keys.items() if pattern != SHARED)
    return f"if {image} and {mask} belong together, set {words}"


def _candidates(images: Collection[str], masks: Collection[str]) -> Iterator[NamePatterns]:
    """Guess patterns: a word that either kind alone has, then a word that each has."""
    for name in islice(sorted(masks), _TRIED):
        yield NamePatterns(mask=_around(name, images))
    for name in islice(sorted(images), _TRIED):
        yield NamePatterns(image=_around(name, masks))
    yield _words_of_each(images, masks)


def _around(longer: str, names: Iterable[str]) -> str:
    """Write ``*`` for the longest of the names that a longer one holds."""
    longer = PurePosixPath(longer).name
    within = max((name for name in map(_last, names) if name in longer), key=len, default="")
    return longer.replace(within, SHARED, 1) if within else SHARED


def _words_of_each(images: Iterable[str], masks: Iterable[str]) -> NamePatterns:
    """Find how all images begin and end, and all masks, but for how both do."""
    kinds = [list(map(_last, images)), list(map(_last, masks))]
    heads = _apart(*map(_beginning, kinds))
    tails = _apart(*(_beginning([name[::-1] for name in names]) for names in kinds))
    return NamePatterns(heads[0] + SHARED + tails[0][::-1], heads[1] + SHARED + tails[1][::-1])


def _apart(one: str, other: str) -> tuple[str, str]:
    """Take the end off both that they share, up to a separator: of ``image_0`` and ``mask_0`` the ``0``."""
    both = len(_beginning([one[::-1], other[::-1]]).rstrip("_-. "))
    return one[: len(one) - both], other[: len(other) - both]


def _beginning(names: Sequence[str]) -> str:
    """Give the letters with which all names begin."""
    return commonprefix(names)  # noqa: RUF071 - letter by letter is what is wanted


def _paired(images: Iterable[str], masks: Collection[str], patterns: NamePatterns) -> dict[str, str]:
    """Find the images that are called as their pattern says and have a mask of that name, with it."""
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
    return str(PurePosixPath(name).with_suffix("")) if name.lower().endswith(SUFFIXES) else name
