"""List files that come with data: a line for each sample of a split."""

import unicodedata
from collections.abc import Container, Iterable, Sequence
from itertools import islice
from pathlib import Path

from segtrain.data.files.walk import SUFFIXES
from segtrain.errors import DataError

_TRIED = 100
"""Paths of a list that are looked for before it is said that they lead nowhere."""


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list, blank ones left out; raises `DataError` where there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text of UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}), expected a line for each sample; correct it") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise DataError(f"{path}: is empty, expected a line for each sample; fill it, or remove it")
    return found


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read a list of image and mask paths, two in each line; raises `DataError` for other lines."""
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split("\t" if "\t" in line else None)
        if len(words) != 2:
            raise DataError(
                f"{path}: line {number} is {line[:80]!r}, expected an image and its mask, such as "
                "'train/a.png trainannot/a.png'; put a tab between them if they have spaces"
            )
        pairs.append((words[0].strip(), words[1].strip()))
    return pairs


def find_name(line: str, known: Container[str]) -> str | None:
    """Return the known name that a line of a list stands for; None for none.

    The line is a name, or a path, whose suffix and first folders may be more than the name, and
    something else may follow it.
    """
    for text in (line, line.split()[0]):
        path = unicodedata.normalize("NFC", text.replace("\\", "/"))
        bare = path[: path.rindex(".")] if path.lower().endswith(SUFFIXES) else path
        for name in (path, bare):
            parts = [part for part in name.split("/") if part not in ("", ".")]
            ends = ("/".join(parts[dropped:]) for dropped in range(len(parts)))
            if found := next((end for end in ends if end in known), None):
                return found
    return None


def found_below(root: Path, names: Sequence[str], listed_in: Path) -> list[str]:
    """Return the files of a list where they lie now.

    Their paths are relative to ``root``, or were absolute on the machine where the list was made: then
    the folders that are not there are dropped, of all alike. Raises `DataError` where no way leads to a
    file; single ones that are missing are left to `Listing.refuse_missing`.
    """
    dropped = _folders_to_drop(root, names)
    if dropped is None:
        raise DataError(
            f"{listed_in}: names {names[0]}, which is not in {root}, nor is what follows on its first folders; "
            "set data.root to the folder that the paths start from"
        )
    places: Iterable[str] = names  # texts, and no Path for each of a million
    if dropped or any("\\" in each for each in names):
        places = (_without(each, dropped) for each in names)
    base = f"{root}/"
    return [place if place.startswith("/") else base + place for place in places]


def _folders_to_drop(root: Path, names: Sequence[str]) -> int | None:
    """Return how many first folders lead nowhere, by the first paths that lead to a file without them."""
    for name in islice(names, _TRIED):
        # joining an absolute path drops the root: so the first try is the path as it is
        for dropped in range(name.count("/") + name.count("\\") + 1):
            if (root / _without(name, dropped)).is_file():
                return dropped
    return None


def _without(name: str, folders: int) -> str:
    """Drop the first folders of a path; the root of an absolute one counts as a folder."""
    path = name.replace("\\", "/") if "\\" in name else name
    return path.split("/", folders)[-1] if folders else path


def ids_below(root: Path, files: Sequence[str]) -> list[str]:
    """Return the names of files: their paths below a folder if they are in it, without suffix, as NFC."""
    base = f"{root}/"
    cut = (_without_suffix(file.removeprefix(base).lstrip("/")) for file in files)
    return [name if name.isascii() else unicodedata.normalize("NFC", name) for name in cut]


def _without_suffix(path: str) -> str:
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 else path  # a dot that begins a name begins no suffix
