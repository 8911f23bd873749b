"""Finding the folders of a published layout, wherever above or at them the root is."""

from collections.abc import Sequence
from pathlib import Path

from segtrain.data.files.labels import listing
from segtrain.data.files.walk import folders_in
from segtrain.errors import DataError

ARCHIVES = (".zip", ".tar", ".gz", ".tgz")


def find_layout(root: Path, folders: Sequence[str], *, inside: Sequence[str] = ()) -> Path:
    """Return the folder that holds others: the root, or one in it of these patterns.

    Raises `DataError` with the remedy where there is none, or more than one.
    """
    if root.is_file() and root.name.lower().endswith(ARCHIVES):
        raise DataError(f"{root}: is an archive, expected a folder; unpack it and set data.root to what comes out")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds {_named(folders)}")
    places = [root, *(place for pattern in inside for place in sorted(root.glob(pattern)))]
    found = [place for place in places if all((place / name).is_dir() for name in folders)]
    if len(found) > 1 and found[0] != root:
        raise DataError(
            f"{root}: {listing(place.name for place in found)} hold {_named(folders)}, expected one; "
            f"set data.root={found[0]}"
        )
    if found:
        return found[0]
    missing = [name for name in folders if not (root / name).is_dir()]
    there = listing(f"{name}/" for name in folders_in(root)) or "no folder"
    raise DataError(
        f"{root}: no {_named(missing)} there (found: {there}); set data.root to the folder that holds {_named(folders)}"
    )


def _named(folders: Sequence[str]) -> str:
    return " and ".join(f"{name}/" for name in folders)
