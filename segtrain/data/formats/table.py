"""Datasets of image and mask files that a table names: CSV, with tabs or with semicolons."""

import csv
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from segtrain.config.words import typed
from segtrain.data.files.division import refuse_groups_across_splits
from segtrain.data.files.drawings import stamp_of_file
from segtrain.data.files.labels import listing
from segtrain.data.files.listing import Listing
from segtrain.data.files.lists import found_below, ids_below
from segtrain.data.files.splits import NAMES
from segtrain.data.formats.first_look import FEW, values_in
from segtrain.data.formats.table_columns import ROWS, columns_word, told_columns
from segtrain.data.formats.valued import ValuedSource, Wanted
from segtrain.data.sample import Recognised, Split
from segtrain.errors import ConfigError, DataError, SegtrainError

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv")
SEPARATORS = ",;\t"
KINDS = ("image", "mask", "split", "group", "weight")
GROUP = "group"


class Csv(ValuedSource):
    """A dataset of image and mask files that a table names, one row for each image.

    ``root`` is the table, or the folder that holds it, and that its paths start from; ``table`` is its
    name there, or a path. The columns are ``image`` and ``mask``, and if there are any, ``split`` (train,
    val or test; blank: to be divided), ``group`` and ``weight``; ``columns`` maps these words to other
    names. If classes overlap there is a column for each, ``mask:road``; a blank is a missing mask.
    ``group`` is a column too, or a regular expression on paths. Further options are those of
    `ValuedSource`. Raises `ConfigError` and `DataError`; files are looked for by `verify` alone.
    """

    def __init__(
        self,
        *,
        split: Split,
        root: str,
        table: str | None = None,
        columns: Mapping[str, str] | None = None,
        group: str | None = GROUP,
        **options: Any,
    ) -> None:
        path = _find_table(Path(root), table)
        read = _read_table(path, tuple((columns or {}).items()), stamp_of_file(path))
        column = None if group is None else read.place(group)
        if column is None and group is not None and group != GROUP and re.fullmatch(r"\w+", group):
            raise ConfigError(
                f"data.group: {path.name} has no column {group!r}, expected one of {listing(read.header)}, or a "
                "regular expression on paths; correct it"
            )
        pattern = None if column is not None or group == GROUP else group
        base = Path(root) if Path(root).is_dir() else path.parent

        def samples_for(wanted: Wanted) -> Listing:
            return _samples(read, base, wanted, column)

        super().__init__(samples_for, split=split, group=pattern, **options)
        log.info("%s: %d rows for %s; mask values mean: %s", path, len(self), split, self._labels.describe())

    looks_for = "a table with the columns image and mask, or with paths of both in others"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for a table with these columns, or with others whose first row names an image and a mask."""
        tables = _tables_in(root)
        found = {path.name: one for path in tables if (one := _recognised(path))}
        if len(found) > 1:
            remedy = f"write data=csv with data.table={next(iter(found))}, or another"
            raise ConfigError(f"{root}: has several tables of images and masks: {listing(found)}; {remedy}")
        for name, one in found.items():
            return one if len(tables) == 1 else one._replace(words=(*one.words, f"data.table={name}"))
        return None

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits in the table."""
        table = _Table(_find_table(Path(options["root"]), options.get("table")), options.get("columns") or {})
        return {split for split in table.splits() or () if split is not None}

    @classmethod
    def remedy_for_missing(cls, key: str, options: Mapping[str, Any]) -> str | None:
        """Return an example of ``classes``, and what the masks hold; of a column for each class, their names."""
        if key != "classes":
            return None
        example = "give the names of the mask values 0, 1, ..., such as 'data.classes=[background,cat]'"
        try:
            path = _find_table(Path(options["root"]), options.get("table"))
            table = _Table(path, options.get("columns") or {})
            base = Path(options["root"]) if Path(options["root"]).is_dir() else path.parent
            if masks := [name for name in table.column("mask") or () if name]:
                return f"{example}{values_in([Path(file) for file in found_below(base, masks[:FEW], path)])}"
        except SegtrainError:
            return example  # what is wrong with the table is said once there are classes
        if names := [name.partition(":")[2] for name in table.header if name.lower().startswith("mask:")]:
            return f"add {_typed_classes(names)} data.mode=multilabel, for a column of each class"
        return example


def _typed_classes(names: Sequence[str]) -> str:
    return typed(f"data.classes=[{','.join(names)}]")


def _find_table(root: Path, name: str | None) -> Path:
    """Return the path of the table; raises `DataError` where there is none, or several to choose from."""
    if name is not None:
        path = root / name if root.is_dir() else root.parent / name
        if not path.is_file():
            raise DataError(f"{path}: no such file, expected a table of images and masks; correct data.table={name}")
        return path
    if root.is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder; set data.root to the table, such as samples.csv")
    found = _tables_in(root)
    if len(found) != 1:
        there = listing(path.name for path in found) or "none"
        example = found[0].name if found else "samples.csv"
        raise DataError(f"{root}: expected one table there, found {there}; set data.table={example}")
    return found[0]


def _tables_in(root: Path) -> list[Path]:
    """Return the tables of a folder, or the one that is meant itself; none where there is no such folder."""
    if root.is_dir():
        return sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    return [root] if root.is_file() else []


def _recognised(path: Path) -> Recognised | None:
    """Say which columns of a table hold images and masks, and the words that name them; None for other tables."""
    with _opened(path) as rows:
        header = [name.strip() for name in next(rows, [])]
        told = told_columns(header, list(islice(rows, ROWS)), path, path.parent)
    if told:
        word = columns_word(told)
        holds = f"{path.name} with the columns {told['image']} and {told['mask']}"
        return Recognised(holds, () if word is None else (word,))
    kinds = {name.lower().partition(":")[0] for name in header}
    return Recognised(f"{path.name} with the columns image and mask") if {"image", "mask"} <= kinds else None


@lru_cache(maxsize=1)
def _read_table(path: Path, names: tuple[tuple[str, str], ...], stamp: str) -> "_Table":  # noqa: ARG001 - part of the key
    """Read a table, or return it as read before: training and validation both ask for it."""
    return _Table(path, dict(names))


@lru_cache(maxsize=1)
def _samples(table: "_Table", base: Path, wanted: Wanted, group: int | None) -> Listing:
    """Return `_Table.samples`, those of all splits, as they were before if nothing differs."""
    return table.samples(base, wanted, group=group)


class _Table:
    """A table, read in columns of texts: a million rows take seconds, which a Path or a dict for each would not."""

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self.path = path
        if unknown := [kind for kind in names if kind not in KINDS]:
            raise ConfigError(f"data.columns: {unknown[0]}, expected some of {', '.join(KINDS)}; correct it")
        self._names = {**{kind: kind for kind in KINDS}, **names}
        with _opened(path) as rows:
            self.header = [name.strip() for name in next(rows, [])]
            chosen = [name for kind, name in names.items() if self.place(name) is None]
            if chosen or self.place(self._names["image"]) is None:
                missing = (chosen or [self._names["image"]])[0]
                remedy = self._remedy(list(islice(rows, ROWS)), "{image: file, mask: label}")
                raise DataError(
                    f"{path}: no column {missing!r} in its first line (found: {listing(self.header) or 'nothing'}), "
                    f"expected the columns image and mask; {remedy}"
                )
            self._columns = self._read(rows)

    def _remedy(self, rows: Sequence[Sequence[str]], example: str) -> str:
        """Say how to name the columns: by what the first rows tell of them, or an example."""
        told = told_columns(self.header, rows, self.path, self.path.parent)
        word = columns_word(told) if told else None
        return f"set {typed(word)}" if word else f"name yours in 'data.columns={example}'"

    def place(self, name: str) -> int | None:
        """Return the number of the column of a name, whatever its case; None for none."""
        lower = [each.lower() for each in self.header]
        return lower.index(name.lower()) if name.lower() in lower else None

    def _read(self, rows: Iterator[list[str]]) -> list[list[str]]:
        """Read all columns, each a list of texts."""
        count = len(self.header)
        columns: list[list[str]] = [[] for _ in self.header]  # not rows, which the garbage collector would walk
        for number, row in enumerate(rows, 2):
            if len(row) != count:
                if not any(row):
                    continue  # a blank line
                raise DataError(
                    f"{self.path}: line {number} has {len(row)} fields, expected {count} as its first line; correct it"
                )
            for column, text in zip(columns, row, strict=True):
                column.append(text)
        if not columns[0]:
            raise DataError(f"{self.path}: has no rows, expected one for each image; fill it")
        return columns

    def column(self, kind: str) -> list[str] | None:
        """Return the texts of a kind of column; None where the table has none."""
        place = self.place(self._names[kind])
        return None if place is None else self._columns[place]

    def splits(self) -> list[Split | None] | None:
        """Return the split of each row; None where the table has no such column, or a blank one."""
        column = self.column("split")
        if column is None:
            return None
        known: dict[str, Split | None] = {word: split for split, words in NAMES.items() for word in words}
        known |= {"": None}
        meant: dict[str, Split | None] = {}
        for word in dict.fromkeys(column):  # each word once
            if word.strip().lower() not in known:
                raise DataError(
                    f"{self.path}: line {column.index(word) + 2} has the split {word!r}, expected train, val, test or "
                    "nothing; correct it, or name another column in 'data.columns={split: ...}'"
                )
            meant[word] = known[word.strip().lower()]
        return [meant[word] for word in column]

    def weights(self) -> list[float] | None:
        """Return the weight of each row; None where the table has no such column."""
        column = self.column("weight")
        if column is None:
            return None
        found = []
        for number, text in enumerate(column):
            weight = _number(text)
            if not 0 <= weight < float("inf"):  # NaN is neither
                raise DataError(
                    f"{self.path}: line {number + 2} has the weight {text!r}, expected 0 or more; correct it"
                )
            found.append(weight)
        return found

    def samples(self, base: Path, wanted: Wanted, *, group: int | None) -> Listing:
        """Return the samples; ``group`` is the number of the column with their groups."""
        images = found_below(base, self._required("image"), self.path)
        masks = tuple(self._masks(base, column, wanted) for column in self._mask_columns(wanted))
        samples = Listing(
            ids_below(base, images),
            images,
            masks,
            self.splits(),
            groups=None if group is None else self._columns[group],
            weights=self.weights(),
            to_divide="write {split} into the column split of its rows",
            listed_in=self.path.name,
        )
        samples.require_distinct_ids(str(self.path), "remove one of the rows")
        if samples.groups is not None and samples.splits is not None:
            refuse_groups_across_splits(samples, samples.groups)
        return samples

    def _required(self, kind: str) -> list[str]:
        column = self.column(kind)
        assert column is not None  # the constructor has looked
        if "" in column:
            raise DataError(f"{self.path}: line {column.index('') + 2} names no {kind}; fill it, or remove the line")
        return column

    def _mask_columns(self, wanted: Wanted) -> list[list[str]]:
        name = self._names["mask"]
        names = [f"{name}:{each}" for each in wanted.classes] if wanted.by_class else [name]
        places = [self.place(each) for each in names]
        for each, place in zip(names, places, strict=True):
            if place is None:
                rows = list(zip(*(column[:ROWS] for column in self._columns), strict=True))
                remedy = "correct data.classes" if wanted.by_class else self._remedy(rows, "{mask: label}")
                several = any(column.lower().startswith(f"{name}:") for column in self.header)
                if several and not wanted.by_class:
                    remedy = "set data.mode=multilabel for a column of each class"
                raise DataError(f"{self.path}: no column {each!r} (found: {listing(self.header)}); {remedy}")
        return [self._columns[place] for place in places if place is not None]

    def _masks(self, base: Path, column: Sequence[str], wanted: Wanted) -> Sequence[str | None]:
        blank = "" in column
        if blank and (wanted.complete or not wanted.by_class):
            instead = ", or set data.missing=absent (the class is not there) or ignore" if wanted.by_class else ""
            raise DataError(
                f"{self.path}: line {list(column).index('') + 2} names no mask; fill it, or remove the line{instead}"
            )
        files = iter(found_below(base, [name for name in column if name], self.path) if any(column) else [])
        return [next(files) if name else None for name in column] if blank else list(files)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[list[str]]]:
    """Open a table as rows of texts; raises `DataError` where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(SEPARATORS, key=first.count)  # the comma if none occurs
            yield csv.reader(file, delimiter=separator)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be read ({reason}), expected a CSV table of UTF-8; correct it") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
