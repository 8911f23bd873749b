"""Pairing of predicted with true masks, by their paths below two folders, without suffix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segtrain.data.files.labels import listing
from segtrain.data.files.pairs import find_files
from segtrain.data.files.walk import OVERLAYS, SCORES, SUFFIXES, folders_in
from segtrain.errors import DataError, Problems


class MaskPair(NamedTuple):
    """The files of a predicted and a true mask: one each, or one per class; None: no file.

    ``id`` is the path of both below their folders, without suffix.
    """

    id: str
    preds: tuple[Path, ...]
    truths: tuple[Path | None, ...]


def pair_masks(pred: Path, truth: Path) -> tuple[list[MaskPair], int]:
    """Pair the mask files of two folders; returns the pairs, and how many predictions have no truth.

    Raises `DataError` where a folder is missing or empty, or a truth has no prediction.
    """
    problems = Problems()  # both folders are looked into before either is reported
    with problems.noted():
        preds = _masks(pred, "pred")
    with problems.noted():
        truths = _masks(truth, "truth")
    problems.raise_any()
    missing = sorted(truths.keys() - preds.keys())
    extra = sorted(name for name in preds.keys() - truths.keys() if not name.startswith((OVERLAYS, *SCORES)))
    if missing:
        found = f" (there: {listing((preds[name].name for name in extra), most=3)})" if extra else ""
        raise DataError(
            f"{truths[missing[0]]}: no prediction of that name in {pred}{found}, expected one for each true mask; "
            f"{len(missing)} of {len(truths)} have none: add them, or give truth=<folder of those that have one>"
        )
    return [MaskPair(name, (preds[name],), (truths[name],)) for name in sorted(truths)], len(extra)


def pair_class_masks(pred: Path, truth: Path, classes: Sequence[str], *, complete: bool) -> tuple[list[MaskPair], int]:
    """Pair masks as `pair_masks` does, from a folder per class; for images with any true mask.

    Raises `DataError` where a folder or a prediction is missing, or, if ``complete``, a true mask.
    """
    problems = Problems()
    with problems.noted():
        preds = _masks_of_classes(pred, "pred", classes)
    with problems.noted():
        truths = _masks_of_classes(truth, "truth", classes)
    problems.raise_any()
    names = sorted(set().union(*truths))  # ids with a true mask of at least one class
    for name, said, true in zip(classes, preds, truths, strict=True):
        _refuse_missing(names, said, pred / name, "predict them")
        if complete:
            instead = "set missing=absent (the class is not there) or missing=ignore (not known)"
            _refuse_missing(names, true, truth / name, instead)
    extra = set().union(*preds).difference(names)
    pairs = [
        MaskPair(name, tuple(files[name] for files in preds), tuple(files.get(name) for files in truths))
        for name in names
    ]
    return pairs, len(extra)


def class_folders(truth: Path) -> list[str]:
    """List the names of the class folders in ``truth``; raises `DataError` where there are none."""
    names = _folders(truth) if truth.is_dir() else []
    if not names:
        raise DataError(
            f"truth={truth}: no folders there, expected one with masks for each class; "
            "correct truth=..., or leave out mode=multilabel if one mask holds all classes"
        )
    return names


def _folders(folder: Path) -> list[str]:
    return [name for name in folders_in(folder) if f"{name}/" not in (OVERLAYS, *SCORES)]


def _masks(folder: Path, key: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{key}={folder}: no such folder, expected one with masks; correct {key}=...")
    files = find_files(folder)
    if not files:
        raise DataError(f"{key}={folder}: holds no masks, expected files of {listing(SUFFIXES)}; correct {key}=...")
    return files


def _masks_of_classes(folder: Path, key: str, classes: Sequence[str]) -> list[dict[str, Path]]:
    _masks(folder, key)
    for name in classes:
        if not (folder / name).is_dir():
            found = listing(f"{there}/" for there in _folders(folder)) or "no folder"
            raise DataError(
                f"{key}={folder}: no folder {name}/ there (found: {found}), expected one with masks for each class; "
                f"correct {key}=... or classes=[...]"
            )
    return [find_files(folder / name) for name in classes]


def _refuse_missing(names: Sequence[str], files: Mapping[str, Path], folder: Path, instead: str) -> None:
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{folder}: no mask {missing[0]} there, expected one of each class for each image with a true one; "
            f"{len(missing)} of {len(names)} are missing: add them, or {instead}"
        )
