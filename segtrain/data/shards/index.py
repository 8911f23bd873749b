"""What is in a shard: the samples of a tar file, and where the bytes of their files lie in it."""

import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from segtrain.data.files.labels import listing

UNCHECKED = -1
"""In place of a checksum, where nothing says what it should be."""
BLOCK = 512  # bytes: headers and files in a tar begin at multiples of it
IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "npy", "jp2")
MASKS = ("png", "tif", "tiff", "npy", "bmp")
MASK_WORDS = ("mask", "seg", "segmentation", "label", "labels", "annotation", "target", "gt")
"""What stands before the suffix of a mask: ``0001.mask.png`` beside ``0001.jpg``."""


class TarError(ValueError):
    """Why a tar file cannot be used, and the remedy."""


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a shard in columns.

    ``places`` is ``(N, 1 + M, 3)`` of int64: offset, length and CRC-32 of the image and of M masks.
    ``suffixes`` are those of the images, of the masks ``mask_suffixes``. ``labels`` and ``weights`` are
    those of `Source`, empty without.
    """

    ids: Sequence[str]
    suffixes: Sequence[str]
    places: NDArray[np.int64]
    mask_suffixes: Sequence[str]
    labels: Sequence[int] = field(default=())
    weights: Sequence[float] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)

    def to_json(self) -> str:
        """Write it as JSON, which `from_json` reads."""
        columns = {key: list(value) for key, value in vars(self).items() if key != "places"}
        return json.dumps({**columns, "places": self.places.reshape(len(self), -1).tolist()}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> "ShardIndex":
        """Read what `to_json` wrote; raises `ValueError` where that is no index."""
        return cls.of_columns(json.loads(text))

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any]) -> "ShardIndex":
        """Make an index from the columns of `to_json`; raises `ValueError` where they do not fit together."""
        try:
            count = len(columns["ids"])
            places = np.array(columns["places"], np.int64).reshape(count, -1, 3)
            index = cls(**{**columns, "places": places})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"no index of a shard ({error})") from None
        whole = [index.suffixes, index.mask_suffixes, *filter(len, (index.labels, index.weights))]
        if any(len(column) != count for column in whole) or (count and places.shape[1] < 2):
            raise ValueError("no index of a shard (columns of several lengths)")
        return index


@dataclass
class _Found:
    """The files of one key in a tar, by what follows the first dot of their name."""

    key: str
    files: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset and length


def read_tar(file: IO[bytes]) -> ShardIndex:
    """Read the headers of a tar file that any tool wrote as WebDataset reads it; the rest is skipped.

    Files that stand together, and have one name up to its first dot, are a sample: an image, and a mask
    such as ``.mask.png`` or ``.seg.png``, or a PNG beside a JPEG.
    Raises `TarError` where it is no tar, is cut off, or a sample has no image or no mask.
    """
    rows = [_row(found) for found in _samples(file)]
    places = [[[*place, UNCHECKED] for place in (image, mask)] for _, image, _, mask, _ in rows]
    index = ShardIndex(
        [key for key, *_ in rows],
        [row[2] for row in rows],
        np.array(places, np.int64).reshape(len(rows), 2, 3),
        [row[4] for row in rows],
    )
    doubles = len(index) - len(set(index.ids))
    if doubles:
        raise TarError(f"holds {doubles} samples whose names it held before, expected distinct ones; write it again")
    if not rows:
        raise TarError("holds no sample, expected images and masks; remove it")
    return index


def members(file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and length of each file in a tar; raises `TarError` where it is damaged or cut off."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in filter(tarfile.TarInfo.isfile, tar):
                yield member.name, member.offset_data, member.size
            file.seek(tar.offset)  # where the headers end
            end = file.read(BLOCK)
    except tarfile.TarError as error:
        raise TarError(f"is no tar file, or damaged ({error}); restore it, unpacked if it was compressed") from None
    if end != bytes(BLOCK):
        raise TarError("has no end mark: it is truncated; copy it again")


def _samples(file: IO[bytes]) -> Iterator[_Found]:
    current: _Found | None = None
    for name, offset, length in members(file):
        folder, slash, base = name.rpartition("/")
        stem, _, ending = base.partition(".")
        if not stem or not ending:
            continue  # hidden, or such as __worker__
        key = f"{folder}{slash}{stem}"
        if current is not None and current.key != key:
            yield current
        if current is None or current.key != key:
            current = _Found(key)
        current.files[ending.lower()] = offset, length
    if current is not None:
        yield current


def _row(found: _Found) -> tuple[str, tuple[int, int], str, tuple[int, int], str]:
    """Return key, place and suffix of the image, place and suffix of the mask."""
    images = [ending for ending in found.files if ending in IMAGES]
    masks = [ending for ending in found.files if _is_mask(ending)]
    if not masks and len(images) == 2 and "png" in images:
        masks = ["png"]
        images.remove("png")
    if len(images) != 1 or len(masks) != 1:
        raise TarError(
            f"{found.key}: has the files {listing(found.files)}, expected one image ({listing(IMAGES)}) and one mask "
            "(such as mask.png or seg.png); write it so"
        )
    return found.key, found.files[images[0]], images[0], found.files[masks[0]], masks[0].rpartition(".")[2]


def _is_mask(ending: str) -> bool:
    word, _, suffix = ending.rpartition(".")
    return word in MASK_WORDS and suffix in MASKS


def checked(data: bytes, places: Iterable[Sequence[int]], start: int) -> list[bytes]:
    """Cut the files out of bytes that begin at ``start``; raises `ValueError` where a checksum differs."""
    files = []
    for offset, length, crc in places:
        content = data[offset - start : offset - start + length]
        if crc != UNCHECKED and zlib.crc32(content) != crc:
            raise ValueError("differs from what was written (checksum); copy the shard again")
        files.append(content)
    return files
