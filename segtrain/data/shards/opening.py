"""Finding the shards of a split and their indexes: those that `segtrain shard` wrote, and those of other tools."""

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import PurePosixPath

from segtrain.config.words import counted
from segtrain.data.files.labels import listing
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.splits import NAMES, PLACE
from segtrain.data.files.walk import without_suffix
from segtrain.data.sample import Split
from segtrain.data.shards.index import ShardIndex, TarError, read_tar
from segtrain.data.shards.manifest import NAME, Manifest, Shard
from segtrain.data.shards.stores import FolderStore, GoneError, ReadingError, Store
from segtrain.errors import DataError

log = logging.getLogger(__name__)

READERS = 16  # indexes that are fetched at a time
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
UNREACHABLE = "unreachable"
"""The kind of an error of a server or a network."""
KINDS = "shards"
"""The kind of what is remembered of shards, in the user's cache."""


def read_manifest(store: Store) -> Manifest | None:
    """Read what `segtrain shard` says of its shards; None where there is no such file. Raises `DataError`."""
    try:
        return Manifest.from_json(store.whole(NAME), store.where(NAME))
    except GoneError:
        return None
    except ReadingError as error:
        raise DataError(f"{store.where(NAME)}: {error}") from None


def own_index(store: Store, shard: Shard) -> ShardIndex:
    """Return the index that lies beside a shard, from the user's cache if it was read before; raises `DataError`."""
    known = recall(KINDS, shard.index)
    if known is not None:
        return ShardIndex.of_columns(known)
    where = store.where(shard.index_name)
    try:
        text = store.whole(shard.index_name)
    except ReadingError as error:
        raise DataError(f"{where}: {error}") from None
    if hashlib.sha256(text).hexdigest() != shard.index:
        raise DataError(f"{where}: is not the index that {NAME} names; copy all files of the folder again")
    index = ShardIndex.from_json(text)
    if not isinstance(store, FolderStore):  # a file on the same disk is as near as the cache
        remember(KINDS, shard.index, json.loads(text))
    return index


def foreign_index(store: Store, name: str) -> tuple[ShardIndex, str]:
    """Return the index of a shard of another tool, and a digest of its stamp, under which it is remembered.

    A shard that is not in a folder is fetched whole, once. Raises `DataError`.
    """
    try:
        stamp = hashlib.sha256(store.stamp(name).encode("utf-8", "surrogateescape")).hexdigest()
        known = recall(KINDS, stamp)
        if known is not None:
            return ShardIndex.of_columns(known), stamp
        log.info("reading what is in %s, once", store.where(name))
        with tempfile.TemporaryFile() as copy, store.stream(name) as file:
            if not isinstance(store, FolderStore):
                shutil.copyfileobj(file, copy)
                copy.seek(0)
            index = read_tar(file if isinstance(store, FolderStore) else copy)
    except (GoneError, TarError) as error:
        raise DataError(f"{store.where(name)}: {error}") from None
    except ReadingError as error:
        raise DataError(f"{store.where(name)}: {error}", kind=UNREACHABLE) from None
    remember(KINDS, stamp, json.loads(index.to_json()))
    return index, stamp


def in_threads(read: Callable[[Shard], ShardIndex], shards: Sequence[Shard]) -> list[ShardIndex]:
    """Read the index of each shard, several at a time: most of it is waiting."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, shards))


def find_shards(store: Store, pattern: str | None, split: Split) -> list[str]:
    """Find the shards of a split that other tools wrote; raises `DataError` where there are none.

    ``pattern`` is that of ``data.shards``; None: the names of the files or their folders say the split.
    """
    if pattern is None:
        found = _by_names(store)
        wanted = sorted(name for names in found.values() for name in names) if split == "all" else found.get(split, [])
        if not wanted:
            raise DataError(_nothing(store, found, split), kind="nothing set aside")
        return wanted
    words = (split, *NAMES.get(split, ()))
    for word in words if PLACE in pattern else ("",):
        names = _matching(store, pattern.replace(PLACE, word))
        if names and _is_there(store, names[0]):
            return names
    raise DataError(
        f"{store.where(pattern)}: no such shards for data.split={split}; correct data.shards", kind="nothing set aside"
    )


def splits_by_names(store: Store) -> list[Split]:
    """Return the splits that the names of shards say; empty where the store lists none."""
    return [split for split, names in _by_names(store, must_list=False).items() if names]


def _by_names(store: Store, *, must_list: bool = True) -> Mapping[Split, list[str]]:
    names = store.names()
    if names is None and must_list:
        raise DataError(
            f"{store.where(NAME)}: is not there, and a web server does not list its files, expected what `segtrain "
            "shard` writes; name the shards: 'data.shards=\"{split}-{000000..000012}.tar\"'"
        )
    return {split: [name for name in names or () if says(name, words)] for split, words in NAMES.items()}


def says(name: str, words: Sequence[str]) -> bool:
    """Tell whether a word stands in a path between what are no letters: ``pets-train-0001.tar``, ``train/0001.tar``."""
    parts = re.split(r"[^a-z]+", without_suffix(PurePosixPath(name)).lower())
    return any(word in parts for word in words)


def _is_there(store: Store, name: str) -> bool:
    try:
        store.stamp(name)
    except GoneError:
        return False
    except ReadingError as error:
        raise DataError(f"{store.where(name)}: {error}") from None
    return True


def _nothing(store: Store, found: Mapping[Split, Sequence[str]], split: Split) -> str:
    place = store.where("").rstrip("/")
    known = [f"{counted(len(names), 'shard')} for {one}" for one, names in found.items() if names]
    tars = store.names() or []
    there = listing(known) if known else f"{counted(len(tars), 'tar file')}" + (f", such as {tars[0]}" if tars else "")
    return (
        f"{place}: no shards for {split} (found: {there}); say where the split stands in their names, such as "
        "'data.shards=\"my-{split}-*.tar\"', or write them with segtrain shard"
    )


def _matching(store: Store, pattern: str) -> list[str]:
    """Return the names that a pattern stands for: ranges in braces are counted out, ``*`` is looked for."""
    if found := _RANGE.search(pattern):
        first, last = found.groups()
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        return [name for number in numbers for name in _matching(store, _RANGE.sub(number, pattern, count=1))]
    if "*" not in pattern:
        return [pattern]
    names = store.names()
    if names is None:
        raise DataError(
            f"{store.where(pattern)}: a web server does not list its files; write their numbers in data.shards, as "
            "{000000..000012}"
        )
    return [name for name in names if fnmatch(name, pattern)]
