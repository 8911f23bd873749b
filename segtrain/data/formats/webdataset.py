"""Samples in tar files, shards, in a folder or beyond one disk: read one by one, by offset, in any order."""

import hashlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.data.files.drawings import OnBad
from segtrain.data.files.images import MAX_PIXELS, read_mask, read_reduced
from segtrain.data.files.labels import UNKNOWN, LabelMap, listing
from segtrain.data.files.memory import recall, remember
from segtrain.data.files.splits import NAMES
from segtrain.data.formats.paired import checked_range
from segtrain.data.palette import colours_of
from segtrain.data.sample import Least, RawSample, Recognised, Source, Split
from segtrain.data.shards.index import UNCHECKED, ShardIndex, checked
from segtrain.data.shards.manifest import NAME, Manifest, Shard
from segtrain.data.shards.opening import (
    KINDS,
    READERS,
    UNREACHABLE,
    find_shards,
    foreign_index,
    in_threads,
    own_index,
    read_manifest,
    says,
    splits_by_names,
)
from segtrain.data.shards.stores import FolderStore, GoneError, ReadingError, ShortError, open_store
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX, make_task

log = logging.getLogger(__name__)

EMPTY = (64, 64)  # height and width of what stands for a bad sample
GAP = 2**20  # bytes between the files of a sample that are read with them, rather than asked for apart
SHOWN = 8  # problems that a message lists


class WebDataset(Source):
    """Tar files of images and masks that `segtrain shard` wrote, or another tool as WebDataset reads them.

    ``root`` is a folder, an ``http`` address, or another one that fsspec opens. What `segtrain shard`
    wrote says its classes itself; for others, ``classes``, ``class_map`` and ``ignore_index`` are those
    of `ValuedSource`, and ``shards`` are their names, ``{split}-{000000..000012}.tar`` or with ``*``;
    None: found by the names of splits in them. ``channels``, ``value_range`` and ``max_pixels`` are
    those of `read_image` and `Source`. A bad sample raises `DataError`, or, if ``on_bad`` is skip,
    is left out by `verify`; where only reading finds it, all its pixels are ignored. ``timeout`` is in
    seconds, for each answer of a web server.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        shards: str | None = None,
        classes: Sequence[str] | None = None,
        class_map: Mapping[int | str, int | str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        channels: Annotated[int, Range(low=1)] | None = None,
        value_range: tuple[float, float] | None = None,
        max_pixels: Annotated[int, Range(low=1)] = MAX_PIXELS,
        on_bad: OnBad = "error",
        check: bool = True,
        timeout: Annotated[float, Range(above=0)] = 30.0,
    ) -> None:
        self._store, self._split = open_store(root, timeout=timeout), split
        self._max_pixels, self._skips, self._check = max_pixels, on_bad == "skip", check
        manifest = read_manifest(self._store)
        if manifest is not None:
            given = {"classes": classes, "class_map": class_map, "ignore_index": ignore_index, "shards": shards}
            self._take_over(manifest, [key for key, value in given.items() if value is not None])
            self._open_own(manifest)
        else:
            ignore = [ignore_index] if isinstance(ignore_index, int) else list(ignore_index or ())
            self._name_classes(classes, class_map, ignore)
            self._open_foreign(find_shards(self._store, shards, split))
        self.channels = channels or self.channels
        self.value_range = checked_range(value_range) or self.value_range

    def __getitem__(self, index: int) -> RawSample:
        return self._read(index, lambda _size: None)

    def reduced(self, index: int, least: Least) -> RawSample:
        """Return the sample of that index, a JPEG at a half, quarter or eighth if that is not below ``least``."""
        changes = type(self).__getitem__ is not WebDataset.__getitem__
        return self[index] if changes else self._read(index, least)

    def _read(self, index: int, least: Least) -> RawSample:
        try:
            return self._decoded(index, least)
        except DataError as error:
            if not self._skips or error.kind == UNREACHABLE:
                raise
            log.warning("%s: left out, all its pixels are ignored: data.on_bad=skip", error)
        size = EMPTY if not self._by_class else (len(self.class_names), *EMPTY)
        return RawSample(
            np.zeros((*EMPTY, self.channels), np.uint8), np.full(size, IGNORE_INDEX, np.uint8), self.ids[index]
        )

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read the mask of that sample without its image: ``(H, W)``, or ``(C, H, W)`` if multilabel."""
        try:
            return self._target(index, self._files(index, slice(1, None)))
        except DataError:
            return self[index].mask  # which says what is wrong, or stands for it

    def version(self) -> str | None:
        """Hash the indexes of the shards, which hold checksums or stamps, and all that decides how samples are read."""
        options = (self.channels, self._skips, self._by_class, self.ids)
        return hashlib.sha256(f"{self._stamp} {options}".encode() + self._labels.table.tobytes()).hexdigest()

    def fingerprint(self) -> str | None:
        """Hash the indexes of the shards, the samples of the split, and the label map."""
        return self.version()

    looks_for = "segtrain.json of segtrain shard, or tar files called train"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for what `segtrain shard` writes, or for tar files whose names say that they are for training."""
        if not root.is_dir():
            return None
        manifest = read_manifest(FolderStore(root))
        if manifest is not None:
            return Recognised(f"{NAME} with shards for {listing(manifest.splits)}")
        tars = sorted(path.name for path in root.glob("*.tar") if says(path.name, NAMES["train"]))
        return Recognised(f"tar files such as {tars[0]}", general=True) if tars else None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits that have shards; None where the names of shards are given, or cannot be listed."""
        store = open_store(str(options["root"]), timeout=float(options.get("timeout", 30)))
        manifest = read_manifest(store)
        if manifest is not None:
            return [split for split in ("train", "val", "test") if split in manifest.splits]
        return None if options.get("shards") else splits_by_names(store) or None

    def verify(self) -> None:
        """Check that every shard is there and whole; in a folder, read every sample once.

        Raises one `DataError` with all problems, or leaves the bad samples out if ``on_bad`` is skip.
        """
        if not self._check:
            log.warning("the shards for %s are not checked: data.check=false", self._split)
            return
        bad = self._cut_off()
        if isinstance(self._store, FolderStore):
            bad |= self._damaged(bad)
        if not bad:
            return
        lines = list(dict.fromkeys(bad.values()))
        shown = [*lines[:SHOWN], *([f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])]
        if not self._skips:
            raise DataError("\n".join(shown))
        kept = [number for number in range(len(self)) if number not in bad]
        if not kept:
            raise DataError(f"data.on_bad: skip leaves no sample for {self._split}; correct the shards")
        log.warning("%s", "\n".join([f"{len(bad)} of {len(self)} samples are left out:", *shown]))
        self._keep(kept)

    def _take_over(self, manifest: Manifest, given: Sequence[str]) -> None:
        """Take over what `segtrain shard` wrote; raises `ConfigError` for options that it leaves no room for."""
        if given:
            keys = listing(f"data.{key}" for key in given)
            raise ConfigError(
                f"{keys}: {self._store.where(NAME)} says that itself ({listing(manifest.class_names)}); leave it out"
            )
        self.mode, self.class_names, self.palette = manifest.mode, tuple(manifest.class_names), tuple(manifest.palette)
        self.channels, self.value_range = manifest.channels, manifest.value_range
        self.image_classes = tuple(manifest.image_classes)
        self.mask_values, self.class_table = tuple(manifest.mask_values), tuple(manifest.class_table)
        task = make_task(self.mode, self.class_names)
        self._by_class = task.classes_overlap
        self._labels = LabelMap(task.value_names, ignore=[IGNORE_INDEX])

    def _name_classes(
        self, classes: Sequence[str] | None, class_map: Mapping[int | str, int | str] | None, ignore: Sequence[int]
    ) -> None:
        if not classes:
            raise ConfigError(
                f"data.classes: missing, and there is no {self._store.where(NAME)} to say them; name each mask value, "
                "such as 'data.classes=[background,cat]'"
            )
        self.mode, self.class_names = "binary" if len(classes) == 1 else "multiclass", tuple(classes)
        task = make_task(self.mode, classes)
        self.palette, self._by_class = colours_of(task), False
        self._labels = LabelMap(task.value_names, ignore=ignore, class_map=class_map)
        self.mask_values, self.class_table = self._labels.values(), self._labels.rows()

    def _open_own(self, manifest: Manifest) -> None:
        splits = manifest.splits
        if self._split != "all" and not splits.get(self._split):
            raise DataError(
                f"{self._store.where(NAME)}: has no shards for {self._split} (it has {listing(splits)}); choose "
                "another data.split, or write them with segtrain shard",
                kind="nothing set aside",
            )
        shards: list[Shard] = [
            shard for split, those in splits.items() if self._split in ("all", split) for shard in those
        ]
        self._stamp = " ".join(shard.index for shard in shards)
        indexes = in_threads(partial(own_index, self._store), shards)
        for shard, index in zip(shards, indexes, strict=True):
            if len(index) != shard.samples:
                raise DataError(f"{self._store.where(shard.index_name)}: does not fit {NAME}; copy all files again")
        self._lay_out([shard.name for shard in shards], indexes)

    def _open_foreign(self, names: Sequence[str]) -> None:
        found = {name: index for name in names if (index := self._foreign_index(name))}
        if not found:
            raise DataError(f"data.on_bad: skip leaves no shard for {self._split}; correct them")
        self._stamp = " ".join(stamp for _, stamp in found.values())
        self._lay_out(list(found), [index for index, _ in found.values()])

    def _foreign_index(self, name: str) -> tuple[ShardIndex, str] | None:
        """Return what is in a shard; None for one that is damaged, where such are left out."""
        try:
            return foreign_index(self._store, name)
        except DataError as error:
            if not self._skips or error.kind == UNREACHABLE:
                raise
            log.warning("%s: the whole shard is left out: data.on_bad=skip", error)
            return None

    def _lay_out(self, names: Sequence[str], indexes: Sequence[ShardIndex]) -> None:
        """Put the columns of all shards behind each other."""
        self._names = list(names)
        self.ids = tuple(name for index in indexes for name in index.ids)
        self.blocks = np.repeat(np.arange(len(indexes), dtype=np.int32), [len(index) for index in indexes])
        self._suffixes = [suffix for index in indexes for suffix in index.suffixes]
        self._mask_suffixes = [suffix for index in indexes for suffix in index.mask_suffixes]
        self._places = np.concatenate([index.places for index in indexes])  # (N, 1 + M, 3)
        self.image_labels = tuple(label for index in indexes for label in index.labels)
        self.weights = [weight for index in indexes for weight in index.weights] or None

    def _keep(self, numbers: Sequence[int]) -> None:
        """Leave out the samples of other numbers."""
        self.ids = tuple(self.ids[number] for number in numbers)
        self._suffixes = [self._suffixes[number] for number in numbers]
        self._mask_suffixes = [self._mask_suffixes[number] for number in numbers]
        self._places, self.blocks = self._places[list(numbers)], np.asarray(self.blocks)[list(numbers)]
        self.image_labels = tuple(self.image_labels[number] for number in numbers) if self.image_labels else ()
        self.weights = [self.weights[number] for number in numbers] if self.weights else None

    def _shard_of(self, index: int) -> str:
        assert self.blocks is not None
        return self._names[int(self.blocks[index])]

    def _address(self, index: int) -> str:
        return f"{self._store.where(self._shard_of(index))}: sample {self.ids[index]}"

    def _files(self, index: int, which: slice) -> list[bytes]:
        """Read files of a sample, in one piece where they lie together; raises `DataError`."""
        places, name = self._places[index, which].tolist(), self._shard_of(index)
        start = min(offset for offset, _, _ in places)
        end = max(offset + length for offset, length, _ in places)
        try:
            if end - start - sum(length for _, length, _ in places) <= GAP:
                return checked(self._store.read(name, start, end - start), places, start)
            parts = [(self._store.read(name, place[0], place[1]), place) for place in places]
            return [file for data, place in parts for file in checked(data, [place], place[0])]
        except ShortError as error:
            raise DataError(f"{self._address(index)}: {error}") from None
        except ReadingError as error:
            raise _unreachable(f"{self._address(index)}: {error}") from None
        except ValueError as error:
            raise DataError(f"{self._address(index)}: {error}") from None

    def _decoded(self, index: int, least: Least = lambda _size: None) -> RawSample:
        picture, *files = self._files(index, slice(None))
        mask = self._target(index, files)
        path = Path(f"{self.ids[index]}.{self._suffixes[index]}")
        try:
            # the mask decides whether the EXIF orientation applies, as where it was sharded
            height, width = mask.shape[-2:]
            image, size = read_reduced(
                path,
                least((height, width)),
                channels=self.channels,
                mask_shape=(height, width),
                max_pixels=self._max_pixels,
                data=picture,
            )
        except DataError as error:
            raise DataError(f"{self._store.where(self._shard_of(index))}: {error}", kind=error.kind) from None
        if size != (height, width):
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (mask.shape[-2:], size)]
            raise DataError(f"{self._address(index)}: the mask has {sizes[0]} pixels, its image {sizes[1]}; correct it")
        return RawSample(image, mask, self.ids[index])

    def _target(self, index: int, files: Sequence[bytes]) -> NDArray[np.uint8]:
        """Decode the masks of a sample to the task's target, ``(H, W)`` or ``(C, H, W)``; raises `DataError`."""
        path = Path(f"{self.ids[index]}.mask.{self._mask_suffixes[index]}")
        masks = []
        for data in files:
            try:
                read = partial(read_mask, path, max_pixels=self._max_pixels, data=data)
                labels = self._labels(read(by_colour=self._labels.by_colour))
            except DataError as error:
                raise DataError(f"{self._store.where(self._shard_of(index))}: {error}", kind=error.kind) from None
            if (labels == UNKNOWN).any():
                held = np.unique(read(by_colour=self._labels.by_colour)).tolist()
                values = listing(map(self._labels.text, self._labels.unknown(held)))
                raise DataError(
                    f"{self._address(index)}: the mask holds {values}, expected {self._labels.expected}; set "
                    "data.ignore_index or data.class_map for other values"
                )
            masks.append(labels)
        if len({mask.shape for mask in masks}) > 1:
            raise DataError(f"{self._address(index)}: its masks have several sizes; write the shards again")
        return np.stack(masks) if self._by_class else masks[0]

    def _cut_off(self) -> dict[int, str]:
        """Return the samples that lie beyond the end of their shard, or in none that is there, and why."""
        ends = self._places[..., :2].sum(axis=2).max(axis=1)  # (N,)
        blocks = np.asarray(self.blocks)

        def look(number: int) -> tuple[NDArray[np.int64], str]:
            mine = np.flatnonzero(blocks == number)
            try:  # the last byte: that tells at once whether a server knows Range requests
                self._store.read(self._names[number], int(ends[mine].max()) - 1, 1)
            except ShortError as error:
                return mine[ends[mine] > error.length], str(error)
            except GoneError as error:
                return mine, str(error)
            except ReadingError as error:
                raise _unreachable(f"{self._store.where(self._names[number])}: {error}") from None
            return mine[:0], ""

        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(look, range(len(self._names))))
        return {
            int(index): f"{self._store.where(name)}: {problem}"
            for name, (mine, problem) in zip(self._names, found, strict=True)
            for index in mine
        }

    def _damaged(self, known: Collection[int]) -> dict[int, str]:
        """Read all samples of shards in a folder; return those that are damaged, and how.

        Checksums are compared where there are any, else samples are decoded. The outcome is remembered
        while no shard changes.
        """
        try:
            stamps = [self._store.stamp(name) for name in self._names]
        except ReadingError:
            stamps = []
        key = hashlib.sha256(f"{stamps} {self.version()}".encode("utf-8", "surrogateescape")).hexdigest()
        outcome = recall(KINDS, key) if stamps else None
        if outcome is None:
            numbers = [number for number in range(len(self)) if number not in known]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                outcome = [
                    [number, text]
                    for number, text in zip(numbers, pool.map(self._problem, numbers), strict=True)
                    if text
                ]
            if stamps:
                remember(KINDS, key, outcome)
        return dict(outcome)

    def _problem(self, index: int) -> str | None:
        try:
            if (self._places[index, :, 2] != UNCHECKED).all():
                self._files(index, slice(None))
            else:
                self._decoded(index)
        except DataError as error:
            return str(error)
        return None


def _unreachable(message: str) -> DataError:
    """Return the error for what could not be read though nothing says that it is bad: it is never skipped."""
    return DataError(message, kind=UNREACHABLE)
