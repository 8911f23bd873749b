"""Writing a data set as shards: tar files with an index beside each, and one file that says what they hold."""

import hashlib
import json
import logging
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.lib import format as npy

from segtrain.data.files.decoders import photo_suffix
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Pixels, Source
from segtrain.data.shards.index import ShardIndex, members
from segtrain.data.shards.manifest import NAME, Manifest, Shard
from segtrain.errors import ConfigError, DataError
from segtrain.storage import taken_whole, write_text

log = logging.getLogger(__name__)

UNFINISHED = "unfinished.json"
"""What the shards of a folder are made of, while they are written."""
OURS = re.compile(r"\.?(train|val|test|all)-\d{6}\.(tar|json)(\.partial)?|\.?(segtrain|unfinished)\.json(\.partial)?")
"""Names of files that are written here, also halves of them."""
MB = 10**6
AT_ONCE = 4  # samples that are encoded at a time, for each core


class File(NamedTuple):
    """One file of a sample: what its name ends in, and its content."""

    suffix: str
    content: bytes


class Part(NamedTuple):
    """The samples of a split to write, in this order."""

    source: Source
    order: Sequence[int]


def write_shards(
    parts: Mapping[str, Part], folder: Path, *, shard_mb: int, made_of: str, on_sample: Callable[[], None]
) -> Manifest:
    """Write the samples of each split as shards of about ``shard_mb`` MB, and what they hold as ``segtrain.json``.

    ``folder`` is one that `claim` returned for ``made_of``; shards that it has already are kept.
    ``on_sample`` is called after each sample. Raises `DataError` for samples that cannot be read.
    """
    splits = {name: _write_split(name, part, folder, shard_mb * MB, on_sample) for name, part in parts.items()}
    manifest = Manifest.of(next(iter(parts.values())).source, splits, made_of)
    write_text(folder / NAME, manifest.to_json())  # last: what is not finished is no data set
    (folder / UNFINISHED).unlink()
    return manifest


def claim(folder: Path, made_of: str) -> Manifest | None:
    """Make a folder ready to be written to; returns its manifest where all shards are there already.

    Shards of the same data, of a run that was interrupted, are left to go on with; those of other data
    are removed, unless they are complete. Raises `ConfigError` for a folder that holds anything else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in folder.iterdir()]
    if NAME in names:
        manifest = Manifest.from_json((folder / NAME).read_bytes(), str(folder / NAME))
        if manifest.made_of != made_of:
            raise ConfigError(
                f"output={folder}: holds shards of other data, or made in another way; choose another folder"
            )
        return manifest
    strange = [name for name in names if not OURS.fullmatch(name)]
    if strange or (names and UNFINISHED not in names):
        found = (strange or names)[0]
        raise ConfigError(f"output={folder}: holds {found}, expected an empty folder; choose another one")
    if names and _made_of(folder / UNFINISHED) != made_of:
        log.info("%s: was begun with other data, or in another way; starting over", folder)
        for name in names:
            (folder / name).unlink()
    write_text(folder / UNFINISHED, json.dumps({"made_of": made_of}))
    return None


def _made_of(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_bytes())["made_of"])
    except (ValueError, KeyError, TypeError):
        return None


def _write_split(split: str, part: Part, folder: Path, most: int, on_sample: Callable[[], None]) -> list[Shard]:
    """Write the shards of a split, after those that an earlier run has written."""
    source, order = part
    shards: list[Shard] = []
    position = 0
    while (shard := _there(_path(folder, split, shards), source, order[position:])) is not None:
        shards.append(shard)
        position += shard.samples
        for _ in range(shard.samples):
            on_sample()
    with closing(_encoded(source, order[position:], on_sample)) as stream:
        while position < len(order):
            shards.append(_write_shard(_path(folder, split, shards), source, stream, most))
            position += shards[-1].samples
    return shards


def _path(folder: Path, split: str, before: Sequence[Shard]) -> Path:
    return folder / f"{split}-{len(before):06d}.tar"


def _there(path: Path, source: Source, order: Sequence[int]) -> Shard | None:
    """Return a shard of these samples that an earlier run wrote, with its index; None without one."""
    try:
        text = path.with_suffix(".json").read_bytes()
        index, size = ShardIndex.from_json(text), path.stat().st_size
    except (OSError, ValueError):
        return None
    if not len(index) or list(index.ids) != [source.ids[number] for number in order[: len(index)]]:
        return None
    return Shard(path.name, len(index), size, hashlib.sha256(text).hexdigest())


def _write_shard(path: Path, source: Source, stream: Iterator[tuple[int, list[File]]], most: int) -> Shard:
    """Write a tar file with samples until it has ``most`` bytes, then the index beside it."""
    try:
        with taken_whole(path) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            rows = list(_packed(tar, source, stream, most))
    except OSError as error:
        error.filename = error.filename or str(path)  # errors of write, as of a full disk, have none
        raise
    written, suffixes, checksums = zip(*rows, strict=True)
    with path.open("rb") as file:
        found = [(offset, length) for _, offset, length in members(file)]
    places = np.column_stack([np.array(found, np.int64), np.concatenate(checksums)])  # (files, 3)
    text = ShardIndex(
        [source.ids[index] for index in written],
        suffixes,
        places.reshape(len(rows), -1, 3),
        ["png"] * len(rows),
        [source.image_labels[index] for index in written] if source.image_labels else (),
        [float(source.weights[index]) for index in written] if source.weights is not None else (),
    ).to_json()
    write_text(path.with_suffix(".json"), text)  # last: a shard without it is written again
    return Shard(path.name, len(rows), path.stat().st_size, hashlib.sha256(text.encode()).hexdigest())


def _packed(
    tar: tarfile.TarFile, source: Source, stream: Iterator[tuple[int, list[File]]], most: int
) -> Iterator[tuple[int, str, list[int]]]:
    """Add samples to a tar; yields index, suffix of the image and checksums of each."""
    for index, files in stream:
        name = member_name(source.ids[index])
        for file in files:
            entry = tarfile.TarInfo(f"{name}.{file.suffix}")  # no time, no owner: the same bytes each time
            entry.size = len(file.content)
            tar.addfile(entry, BytesIO(file.content))
        yield index, files[0].suffix, [zlib.crc32(file.content) for file in files]
        if tar.offset >= most:
            break


def member_name(name: str) -> str:
    """Return the name of a sample in a tar: a dot ends it for readers, and control characters end lines.

    Slashes stay, so that names in sub-folders stay apart. No two ids have one name.
    """
    quoted = re.sub(r"[%.\x00-\x1f\x7f\\]", lambda found: f"%{ord(found[0]):02X}", name)
    return f"%2F{quoted[1:]}" if quoted.startswith("/") else quoted


def _encoded(
    source: Source, order: Sequence[int], on_sample: Callable[[], None]
) -> Generator[tuple[int, list[File]], None, None]:
    """Yield the files of samples in order; encoded in threads, a few ahead."""
    step = AT_ONCE * (os.cpu_count() or 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: encoding releases the GIL
        for start in range(0, len(order), step):
            some = order[start : start + step]
            for index, files in zip(some, pool.map(lambda index: encode(source, index), some), strict=True):
                on_sample()
                yield index, files


def encode(source: Source, index: int) -> list[File]:
    """Return the files of a sample: its image, as it is stored where every viewer opens that, and its masks.

    Other images become PNG where they have 8 or 16 bits and one or three channels, else NumPy arrays.
    Masks are PNG of labels, 255 being ignored; of overlapping classes, one for each.
    """
    image = _stored(source, index)
    if image is None:
        raw = source[index]
        image, mask = encode_pixels(raw.image), raw.mask
    else:
        mask = source.mask(index)
    if mask.ndim == 2:
        return [image, File("mask.png", _png(mask))]
    return [image, *(File(f"mask{number}.png", _png(layer)) for number, layer in enumerate(mask))]


def _stored(source: Source, index: int) -> File | None:
    """Return the bytes of an image file that every viewer opens, its EXIF orientation in it; None for other kinds.

    The orientation is decided anew where the shard is read: by the size of the mask, so in the same way.
    """
    if not isinstance(source, PairedSource):
        return None
    path = source.pairs[index].image
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    suffix = photo_suffix(path, data)
    return None if suffix is None else File(suffix, data)


def encode_pixels(image: Pixels) -> File:
    """Encode an image ``(H, W, C)`` without loss."""
    if image.dtype in (np.uint8, np.uint16) and image.shape[2] in (1, 3):
        return File("png", _png(image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)))
    stream = BytesIO()
    npy.write_array(stream, np.ascontiguousarray(image), allow_pickle=False)
    return File("npy", stream.getvalue())


def _png(pixels: Pixels) -> bytes:
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise DataError(
            f"an image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be written as PNG; cut it into tiles"
        )
    return data.tobytes()
