"""List files that come with data: a line for each sample of a split."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

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


def found_below(root: Path, names: Sequence[str], listed_in: Path) -> list[str]:
    """Return the files of a list where they lie now.

    Their paths are relative to ``root``, or were absolute on the machine where the list was made: then
    the folders that are not there are dropped, of all alike. Raises `DataError` where no way leads to a
    file; single ones that are missing are left to `Listing.refuse_missing`.
    """
    for name in islice(names, _TRIED):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for dropped in range(len(parts)):
            # joining an absolute path drops the root: so the first try is the path as it is
            if root.joinpath(*parts[dropped:]).is_file():
                return [_joined(root, each, dropped) for each in names]
    raise DataError(
        f"{listed_in}: names {names[0]}, which is not in {root}, nor is what follows on its first folders; "
        "set data.root to the folder that the paths start from"
    )


def _joined(root: Path, name: str, dropped: int) -> str:
    parts = PurePosixPath(name.replace("\\", "/")).parts[dropped:]
    return str(root.joinpath(*parts))
