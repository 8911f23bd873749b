"""The samples that a format finds, in columns of strings: a million of them fit into memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from segtrain.config.words import counted
from segtrain.data.files.drawings import Drawing
from segtrain.data.sample import Split
from segtrain.errors import DataError

Mask: TypeAlias = Path | Drawing
"""What a mask is read from: a file of values, or what an annotation tool has drawn."""

T = TypeVar("T")


class Pair(NamedTuple):
    """An image file, and its mask or one mask per class; None: no mask."""

    image: Path
    masks: tuple[Mask | None, ...]


def size_drawn(pair: Pair) -> tuple[int, int] | None:
    """Return the ``(H, W)`` of the image as the tool saw it that drew its mask; None where it does not say."""
    return next((mask.size for mask in pair.masks if isinstance(mask, Drawing) and mask.size), None)


@dataclass(frozen=True)
class Listing(Sequence[Pair]):
    """Samples by number: id, image file, and a column of masks, or one per class if classes overlap.

    ``splits`` is the split that the data itself gives each sample, None for one that it leaves open;
    the whole column is None where the data knows no splits. ``groups`` are the names of what belongs
    together, a patient or a scene, and ``weights`` how often a sample is drawn compared to others.
    ``given`` are splits that have samples of their own, though these are not listed here.
    ``to_divide`` is the remedy where a split has no samples: how this data can be divided.
    ``listed_in`` is what names the files, so that some may be missing; None: they were found.
    """

    ids: Sequence[str]
    images: Sequence[str]
    masks: tuple[Sequence[str | Drawing | None], ...]
    splits: Sequence[Split | None] | None = None
    groups: Sequence[str] | None = None
    weights: Sequence[float] | None = None
    given: frozenset[Split] = frozenset()
    to_divide: str = "name its samples in a list of their own"
    listed_in: str | None = None

    @classmethod
    def of(cls, pairs: Mapping[str, Pair], **columns: Any) -> "Listing":
        """Make the columns of pairs by id."""
        masks = zip(*(pair.masks for pair in pairs.values()), strict=True) if pairs else [()]
        texts = tuple([str(mask) if isinstance(mask, Path) else mask for mask in column] for column in masks)
        return cls(list(pairs), [str(pair.image) for pair in pairs.values()], texts, **columns)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, number: int) -> Pair: ...

    @overload
    def __getitem__(self, number: slice) -> list[Pair]: ...

    def __getitem__(self, number: int | slice) -> Pair | list[Pair]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        found = (column[number] for column in self.masks)
        masks = tuple(Path(mask) if isinstance(mask, str) else mask for mask in found)
        return Pair(Path(self.images[number]), masks)

    def __iter__(self) -> Iterator[Pair]:
        return (self[number] for number in range(len(self)))

    def take(self, numbers: Iterable[int]) -> "Listing":
        """Return the samples of these numbers, in that order."""
        chosen = list(numbers)
        return replace(
            self,
            ids=_taken(self.ids, chosen),
            images=_taken(self.images, chosen),
            masks=tuple(_taken(column, chosen) for column in self.masks),
            splits=None if self.splits is None else _taken(self.splits, chosen),
            groups=None if self.groups is None else _taken(self.groups, chosen),
            weights=None if self.weights is None else _taken(self.weights, chosen),
        )

    def without(self, ids: Collection[str]) -> "Listing":
        """Return the samples of other ids."""
        return self.take(number for number, name in enumerate(self.ids) if name not in ids)

    def require_distinct_ids(self, where: str, remedy: str) -> None:
        """Raise `DataError` where two samples have one id: their predictions would overwrite each other."""
        if len(set(self.ids)) == len(self.ids):
            return
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise DataError(f"{where}: {name} twice, expected one line for each image; {remedy}")
            seen.add(name)

    def refuse_missing(self) -> None:
        """Raise one `DataError` for all files that are listed but are not there."""
        missing = [] if self.listed_in is None else [path for path in self.files() if not Path(path).is_file()]
        if missing:
            others = f", with {counted(len(missing) - 1, 'other file')} that" if len(missing) > 1 else ", which"
            raise DataError(
                f"{missing[0]}: missing{others} {self.listed_in} names; add what is missing, take it out there, or "
                "leave its samples out with data.on_bad=skip",
                kind="missing",
            )

    def files(self) -> Iterator[str]:
        """Yield the paths of all images and mask files."""
        yield from self.images
        yield from self.mask_files()

    def mask_files(self) -> Iterator[str]:
        """Yield the paths of all mask files."""
        for column in self.masks:
            yield from (mask for mask in column if isinstance(mask, str))

    def drawings(self) -> Iterator[Drawing]:
        """Yield the masks that are drawn."""
        for column in self.masks:
            yield from (mask for mask in column if isinstance(mask, Drawing))

    def drawing_stamps(self) -> Iterator[str]:
        """Yield for each mask that is drawn a text that changes whenever the mask does."""
        return (f"{drawing.stamp} {drawing.overlap} {drawing.on_bad}" for drawing in self.drawings())


def _taken(column: Sequence[T], numbers: Sequence[int]) -> list[T]:
    return [column[number] for number in numbers]
