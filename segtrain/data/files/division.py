"""Dividing samples into training, validation and test: as the data says, by shares, or in folds."""

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from segtrain.data.files.labels import listing
from segtrain.data.files.listing import Listing
from segtrain.data.sample import Split
from segtrain.errors import ConfigError, DataError

log = logging.getLogger(__name__)

MANY_SAMPLES = 50_000
"""With more samples, chance gives each split its share of each class as well as stratification does."""
NO_CLASS = -1


@dataclass(frozen=True)
class Division:
    """How to divide samples that the data leaves undivided.

    ``val_fraction`` and ``test_fraction`` are shares of the samples. ``stratify`` gives each split its
    share of the images with each class, the rarest first. ``group`` is a regular expression on ids;
    what it finds, its first group if it has one, is the name of samples that stay together. With
    ``folds``, training and validation are divided into that many parts, of which ``fold``, from 0 on,
    is the validation.
    """

    val_fraction: float = 0.1
    test_fraction: float = 0.0
    seed: int = 0
    stratify: bool = True
    group: str | None = None
    folds: int | None = None
    fold: int = 0

    def __post_init__(self) -> None:
        if self.val_fraction < 0 or self.test_fraction < 0 or self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"data.val_fraction, data.test_fraction: {self.val_fraction}, {self.test_fraction}, "
                "expected a sum below 1"
            )
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"data.folds: {self.folds}, expected 2 at least, or null for no folds")
        if self.folds is None and self.fold:
            raise ConfigError(f"data.fold: {self.fold}, but data.folds is not set; add data.folds=5")
        if self.folds is not None and not 0 <= self.fold < self.folds:
            raise ConfigError(f"data.fold: {self.fold}, expected 0 to {self.folds - 1}, as data.folds={self.folds}")


Presence = Callable[[Sequence[int]], Sequence[Collection[int]]]
"""Returns the classes in each of the samples with these numbers."""


def divide(samples: Listing, split: Split, division: Division, presence: Presence) -> Listing:
    """Return the samples of one split, in their order; raises `DataError` where it has none.

    A split that the data gives is taken as it is. What it lacks is held out from its training samples,
    or from all if it has no splits.
    """
    if split == "all":
        return samples
    units = _Units(samples, division)
    given = samples.given.union(name for name in samples.splits or () if name is not None)
    if given and division.group is not None:
        refuse_groups_across_splits(samples, units.names)
    if division.folds is not None:
        return samples.take(sorted(_fold(units, split, division, presence, given)))
    if split in given and split != "train":
        return samples.take(units.of_splits({split}))
    if given and "train" not in given and not units.of_splits({None}):
        raise DataError(f"data: no samples for {split} beside those for {listing(sorted(given))}; {samples.to_divide}")
    pool = units.of_splits({"train", None})
    shares = {name: 0.0 if name in given else share for name, share in _shares(division).items()}
    if split == "train" and not any(shares.values()):
        return samples.take(pool)
    return samples.take(_share(units, pool, split, shares, division, presence))


def _shares(division: Division) -> dict[Split, float]:
    return {"val": division.val_fraction, "test": division.test_fraction}


class _Units:
    """The samples of a listing as units that stay together: each alone, or those of a group."""

    def __init__(self, samples: Listing, division: Division) -> None:
        self.samples = samples
        self._division = division

    @cached_property
    def names(self) -> Sequence[str]:
        """The name of the unit of each sample."""
        return groups_of(self.samples, self._division.group) or self.samples.ids

    def of_splits(self, splits: Collection[Split | None]) -> list[int]:
        """Return the numbers of the samples that the data gives to these splits; None: to none."""
        if self.samples.splits is None:
            return list(range(len(self.samples))) if None in splits else []
        return [number for number, split in enumerate(self.samples.splits) if split in splits]

    def members(self, pool: Iterable[int]) -> dict[str, list[int]]:
        """Return the samples of each unit in a pool."""
        found: dict[str, list[int]] = defaultdict(list)
        for number in pool:
            found[self.names[number]].append(number)
        return dict(found)


def groups_of(samples: Listing, pattern: str | None) -> Sequence[str] | None:
    """Return the name of the group of each sample, by a pattern of ``data.group`` or as listed; None without groups."""
    if pattern is None:
        return samples.groups
    return [_group(name, pattern) for name in samples.ids]


def refuse_groups_across_splits(samples: Listing, groups: Sequence[str]) -> None:
    """Raise `DataError` where the data itself puts samples of one group into two splits."""
    seen: dict[str, tuple[Split | None, str]] = {}
    for name, group, split in zip(samples.ids, groups, samples.splits or (), strict=True):
        before, first = seen.setdefault(group, (split, name))
        if before != split:
            raise DataError(
                f"data.group: {group} is in {before} ({first}) and in {split} ({name}), expected one side; "
                "move its files to one split, or set data.group=null",
                kind="group in two splits",
            )


def _group(name: str, pattern: str) -> str:
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"data.group: {pattern!r} is no regular expression ({error}); correct it") from None
    if found is None:
        raise ConfigError(
            f"data.group: {pattern!r} finds nothing in {name!r}, expected the name of its group in every path; "
            "correct it, or set data.group=null"
        )
    return str(found[1] if found.re.groups else found[0])


def _share(
    units: _Units,
    pool: Sequence[int],
    split: Split,
    shares: Mapping[Split, float],
    division: Division,
    presence: Presence,
) -> list[int]:
    """Choose the samples of a split by shares, by seed and name: an added file moves few of the others."""
    if shares.get(split) == 0:
        raise DataError(
            f"data: no images are set aside for {split}; train with data.{split}_fraction=0.1, "
            f"or {units.samples.to_divide.replace('{split}', split)}",
            kind="nothing set aside",
        )
    members = units.members(pool)
    log.info("data: %s is a share chosen by data.seed=%d", split, division.seed)
    strata = _strata(pool, members, division, presence)
    parts: dict[Split, list[int]] = {}
    left = dict(members)
    for name, share in shares.items():
        wanted = max(1, round(len(pool) * share)) if share else 0
        chosen = _first(_in_order(left, strata, division.seed), left, wanted)
        parts[name] = [number for unit in chosen for number in left[unit]]
        left = {unit: numbers for unit, numbers in left.items() if unit not in chosen}
    parts["train"] = [number for numbers in left.values() for number in numbers]
    if not all(parts[name] for name in parts if name == "train" or shares[name]):
        what = "pairs" if len(members) == len(pool) else "groups"
        raise DataError(
            f"data: {len(members)} {what} are too few to set some aside; add more, or make train/ and val/ folders"
        )
    return sorted(parts[split])


def _fold(units: _Units, split: Split, division: Division, presence: Presence, given: Collection[Split]) -> list[int]:
    """Choose the samples of a split where training and validation are divided into folds."""
    assert division.folds is not None
    if split == "test" and "test" in given:
        return units.of_splits({"test"})
    pool: Sequence[int] = units.of_splits({"train", "val", None})
    if "test" not in given and (division.test_fraction or split == "test"):  # held out before the folds are made
        shares: dict[Split, float] = {"test": division.test_fraction}
        held_out = _share(units, pool, "test", shares, division, presence)
        if split == "test":
            return held_out
        pool = sorted(set(pool) - set(held_out))
    members = units.members(pool)
    if len(members) < division.folds:
        what = "samples" if len(members) == len(pool) else "groups"
        raise DataError(f"data.folds: {division.folds} folds of {len(members)} {what}; take fewer folds")
    strata = _strata(pool, members, division, presence)
    sizes = [0] * division.folds
    held: list[int] = []
    for unit in sorted(members, key=lambda unit: (strata[unit], _hash(division.seed, unit))):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(members[unit])
        held += members[unit] if fold == division.fold else []
    return held if split == "val" else sorted(set(pool) - set(held))


def _strata(
    pool: Sequence[int], members: Mapping[str, list[int]], division: Division, presence: Presence
) -> dict[str, tuple[int, int]]:
    """Return the stratum of each unit: how many units hold its rarest class, and that class."""
    if not division.stratify or len(pool) > MANY_SAMPLES:
        return dict.fromkeys(members, (0, NO_CLASS))
    classes_in = dict(zip(pool, presence(pool), strict=True))
    held = {unit: frozenset().union(*(classes_in[number] for number in numbers)) for unit, numbers in members.items()}
    counts = Counter(label for labels in held.values() for label in labels)
    nothing = (len(members), NO_CLASS)
    return {unit: min(((counts[label], label) for label in labels), default=nothing) for unit, labels in held.items()}


def _in_order(left: Collection[str], strata: Mapping[str, tuple[int, int]], seed: int) -> list[str]:
    """Order units so that the first of them, however many, hold each stratum's share.

    The first unit of each stratum of two or more comes before all others, the rarest class first.
    """
    by_stratum: dict[tuple[int, int], list[str]] = defaultdict(list)
    # a hash and not random.shuffle: the same on every system, Python and order of the listing
    for unit in sorted(left, key=lambda unit: _hash(seed, unit)):
        by_stratum[strata[unit]].append(unit)
    places: list[tuple[float, tuple[int, int], int, str]] = []
    for stratum, names in by_stratum.items():
        for number, unit in enumerate(names):
            is_first = number == 0 and len(names) > 1
            places.append((0.0 if is_first else (number + 0.5) / len(names), stratum, number, unit))
    return [unit for *_, unit in sorted(places)]


def _first(order: Iterable[str], members: Mapping[str, list[int]], wanted: int) -> set[str]:
    """Take units until they have as many samples as wanted; one that would exceed by more than half is passed over."""
    chosen: set[str] = set()
    total = 0
    for unit in order:
        size = len(members[unit])
        if total < wanted and (total + size - wanted <= size / 2 or not chosen):
            chosen.add(unit)
            total += size
    return chosen


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
