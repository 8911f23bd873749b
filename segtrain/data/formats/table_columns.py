"""Telling the columns of a table by what they hold, to suggest the words that map them."""

from collections.abc import Sequence
from pathlib import Path

from segtrain.config.words import quote
from segtrain.data.files.lists import found_below
from segtrain.data.files.splits import MASK_WORDS, NAMES
from segtrain.data.files.walk import SUFFIXES
from segtrain.errors import DataError

ROWS = 20
"""First rows of a table that are looked at."""
_GROUPS = ("patient", "group", "scene", "video", "subject", "case")
"""Parts of names of columns whose rows of one text belong together."""
_SPLITS = {word for words in NAMES.values() for word in words}


def told_columns(header: Sequence[str], rows: Sequence[Sequence[str]], path: Path, base: Path) -> dict[str, str] | None:
    """Return the name of the column of each kind; None where it is not plain which hold images and masks.

    Those are columns whose first cell is a file below ``base``; the mask's is called so, or its files are.
    ``split`` holds words of splits alone, ``group`` is called like one; both may be missing.
    """
    rows = [row for row in rows if len(row) == len(header)]
    if not rows:
        return None
    files = [place for place, cell in enumerate(rows[0]) if _is_file(cell, path, base)]
    masks = [place for place in files if _like_mask(header[place])]
    if len(masks) != 1:  # nothing in the names, or in both: image_label, mask_label
        masks = [place for place in files if _like_mask(rows[0][place])]
    if len(files) != 2 or len(masks) != 1:
        return None
    (mask,) = masks
    (image,) = set(files) - {mask}
    found = {"image": header[image], "mask": header[mask]}
    others = [place for place in range(len(header)) if place not in files]
    if (split := next((place for place in others if _holds_splits([row[place] for row in rows])), None)) is not None:
        found["split"] = header[split]
        others.remove(split)
    group = next((header[place] for place in others if any(word in header[place].lower() for word in _GROUPS)), None)
    return found if group is None else {**found, "group": group}


def columns_word(names: dict[str, str]) -> str | None:
    """Write the override that names columns; None where all are called as their kinds are."""
    if all(name.lower() == kind for kind, name in names.items()):
        return None
    pairs = (f"{kind}: {name if name.replace('_', 'a').isalnum() else quote(name)}" for kind, name in names.items())
    return f"data.columns={{{', '.join(pairs)}}}"


def _is_file(cell: str, path: Path, base: Path) -> bool:
    if not cell.lower().endswith(SUFFIXES):
        return False
    try:
        return Path(found_below(base, [cell], path)[0]).is_file()
    except DataError:
        return False


def _like_mask(text: str) -> bool:
    return any(word in text.lower() for word in MASK_WORDS)


def _holds_splits(texts: Sequence[str]) -> bool:
    words = {text.strip().lower() for text in texts} - {""}
    return bool(words) and words <= _SPLITS
