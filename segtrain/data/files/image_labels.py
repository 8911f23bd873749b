"""Labels of whole images, read from a CSV table."""

import csv
from collections.abc import Sequence
from pathlib import Path

from segtrain.data.files.labels import listing
from segtrain.errors import DataError

COLUMNS = ("id", "label")


def read_image_labels(path: Path, ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the distinct labels in a table, sorted, and for each of ``ids`` the index of its label.

    The table is CSV with the columns ``id`` and ``label``; more columns and more images are allowed.
    Raises `DataError` where it cannot be read, gives an image two labels, or leaves one out.
    """
    labels = _read(path)
    missing = [name for name in ids if name not in labels]
    if missing:
        raise DataError(
            f"{path}: no label for {listing(missing, most=4)} ({len(missing)} of {len(ids)} images); add a line "
            f"such as '{missing[0]},<label>' for each"
        )
    # of the whole table and not of these ids: train, val and test have to number the labels alike
    names = tuple(sorted(set(labels.values())))
    numbers = {name: number for number, name in enumerate(names)}
    return names, tuple(numbers[labels[name]] for name in ids)


def _read(path: Path) -> dict[str, str]:
    """Read the label of each id; raises `DataError` with the line that is wrong."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets write a BOM
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be read: {reason}; expected a table with the columns id and label; write it, or set "
            "data.image_labels=null"
        ) from None
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):  # line 1 is the header
        name, label = ((row.get(column) or "").strip() for column in COLUMNS)
        if not name or not label:
            raise DataError(f"{path}:{number}: expected an id and a label, below the line 'id,label'; complete it")
        if labels.get(name, label) != label:
            raise DataError(f"{path}:{number}: {name} is {label} here and {labels[name]} before; keep one of the two")
        labels[name] = label
    return labels
