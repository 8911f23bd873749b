"""Score files of masks against files of masks: read by threads, counted pair by pair, never all in memory."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from segtrain.contours import Contours
from segtrain.data.images import SUFFIXES, read_mask
from segtrain.data.labels import MANY, UNKNOWN, LabelMap, listing
from segtrain.data.pairs import find_files
from segtrain.data.sample import Pixels
from segtrain.data.verify import first_few, held_values, strange_values
from segtrain.errors import DataError
from segtrain.metrics import Absent, Counts, confusion
from segtrain.task import IGNORE_INDEX, Task

OVERLAYS = "overlays/"
"""Where `segtrain predict` puts pictures beside its masks."""

T = TypeVar("T")
R = TypeVar("R")


class MaskPair(NamedTuple):
    """A true mask and what was predicted for it; ``id`` is the path of both in their folders, without suffix."""

    id: str
    pred: Path
    truth: Path


@dataclass(frozen=True, eq=False)
class Scored:
    """What all pairs gave, in their order; ``confusion`` is ``(1, L, L)``, summed over them."""

    counts: Counts
    confusion: Tensor
    contours: Contours


class Strange(NamedTuple):
    """A mask that holds values without a label: which of the two it is, and all of its values."""

    kind: Literal["truth", "pred"]
    file: Path
    values: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores two files against each other: what their values stand for, and what is measured beside the counts."""

    task: Task
    truth_labels: LabelMap
    pred_labels: LabelMap
    boundary: bool = False
    surface: bool = False
    absent: Absent = "exclude"

    def __call__(self, pair: MaskPair) -> Scored | Strange:
        """Score one pair, or return the mask that holds values without a label.

        What is predicted at ignored pixels does not matter. Raises DataError where a file cannot be read, or the sizes
        differ.
        """
        pred, truth = read_mask(pair.pred), read_mask(pair.truth)
        if pred.shape != truth.shape:
            raise DataError(_wrong_size(pair, pred, truth))
        target, prediction = self.truth_labels(truth), self.pred_labels(pred)
        if (target == UNKNOWN).any():
            return Strange("truth", pair.truth, held_values(truth))
        counted = target != IGNORE_INDEX
        if (counted & (prediction >= self.task.num_labels)).any():
            return Strange("pred", pair.pred, held_values(pred[counted]))
        return self._score(torch.from_numpy(prediction)[None], torch.from_numpy(target)[None])

    def contours(self) -> Contours:
        """Make the measure of contours, which measures nothing unless asked to."""
        return Contours(self.task, boundary=self.boundary, surface=self.surface, absent=self.absent)

    def _score(self, prediction: Tensor, target: Tensor) -> Scored:
        table = confusion(prediction, target, self.task)
        contours = self.contours()
        contours.measure(prediction, target)
        return Scored(Counts.from_confusion(table, self.task), table.sum(0), contours)


def pair_masks(pred: Path, truth: Path) -> tuple[list[MaskPair], int]:
    """Pair the mask files of two folders by their paths without suffix; beside the pairs, count what has no truth.

    Raises DataError where a folder is missing or empty, or a truth has no prediction.
    """
    preds, truths = _masks(pred, "pred"), _masks(truth, "truth")
    missing = sorted(truths.keys() - preds.keys())
    extra = sorted(name for name in preds.keys() - truths.keys() if not name.startswith(OVERLAYS))
    if missing:
        found = f" (there: {listing((preds[name].name for name in extra), most=3)})" if extra else ""
        raise DataError(
            f"{truths[missing[0]]}: no prediction of that name in {pred}{found}, expected one for each true mask; "
            f"{len(missing)} of {len(truths)} have none: add them, or give truth=<folder of those that have one>"
        )
    return [MaskPair(name, preds[name], truths[name]) for name in sorted(truths)], len(extra)


def _masks(folder: Path, key: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{key}={folder}: no such folder, expected one with masks; correct {key}=...")
    files = find_files(folder)
    if not files:
        raise DataError(f"{key}={folder}: holds no masks, expected files of {listing(SUFFIXES)}; correct {key}=...")
    return files


def find_values(files: Iterable[Path], on_image: Callable[[], None] = lambda: None) -> set[int]:
    """Collect the values that mask files hold."""
    return {value for values in _each(lambda file: held_values(read_mask(file)), files, on_image) for value in values}


def score_masks(pairs: Sequence[MaskPair], scorer: Scorer, *, on_image: Callable[[], None] = lambda: None) -> Scored:
    """Score every pair; ``on_image`` is called after each.

    Raises one DataError, after all were looked at, with a line for each file that cannot be used, and one for all
    masks of a folder whose values have no label.
    """
    counts: list[Counts] = []
    matrix = torch.zeros((), dtype=torch.int64)
    contours = scorer.contours()
    problems: list[str] = []
    strange: list[Strange] = []
    for found in _each(_reporting(scorer), pairs, on_image):
        if isinstance(found, DataError):
            problems.append(str(found))
        elif isinstance(found, Strange):
            strange.append(found)
        else:
            counts.append(found.counts)
            matrix = matrix + found.confusion
            contours.counts += found.contours.counts
            contours.distances += found.contours.distances
    _refuse(problems, strange, scorer)
    return Scored(Counts.cat(counts), matrix, contours)


def _reporting(scorer: Scorer) -> Callable[[MaskPair], Scored | Strange | DataError]:
    """Return what is wrong with a pair instead of raising it, so that all others are looked at too."""

    def compare(pair: MaskPair) -> Scored | Strange | DataError:
        try:
            return scorer(pair)
        except DataError as error:
            return error

    return compare


def _each(function: Callable[[T], R], items: Iterable[T], on_image: Callable[[], None]) -> Iterator[R]:
    """Apply a function to every item, with a thread for every core; results come in order."""
    threads = torch.get_num_threads()
    try:  # each of ours works alone: torch's own would multiply with them
        with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for result in pool.map(function, items):
                on_image()
                yield result
    finally:
        torch.set_num_threads(threads)


def _wrong_size(pair: MaskPair, pred: Pixels, truth: Pixels) -> str:
    (height, width), (true_height, true_width) = pred.shape, truth.shape
    return (
        f"{pair.pred}: {width}x{height} pixels, expected {true_width}x{true_height} as {pair.truth}; "
        "predict at the size of the image, or resize the mask without interpolation"
    )


def _refuse(problems: Sequence[str], strange: Sequence[Strange], scorer: Scorer) -> None:
    """Raise what is wrong, if anything is."""
    lines = first_few(problems)
    labels = {"truth": scorer.truth_labels, "pred": scorer.pred_labels}
    for kind, label_map in labels.items():
        found = [mask for mask in strange if mask.kind == kind]
        if found:
            values = {value for mask in found for value in mask.values}
            remedy = _remedy(kind, values, label_map, scorer.task)
            lines.append(strange_values(found[0].file, found[0].values, label_map, remedy, masks=len(found)))
    if lines:
        raise DataError("\n".join(lines))


def _remedy(kind: str, values: Collection[int], labels: LabelMap, task: Task) -> str:
    """Say what to type when the masks of a folder hold these values."""
    if kind == "truth" or len(values) > max(MANY, 2 * task.num_labels):
        return labels.remedy(values, task.class_names).replace("data.", "")
    held = sorted(values)
    if len(held) == task.num_labels:
        return f"add {_as_map(held, range(len(held)))}"
    known = [str(labels.pairs().get(value, "?")) for value in held]
    return f"name each value in classes, or say what each stands for, a label in place of ?: {_as_map(held, known)}"


def _as_map(values: Iterable[int], labels: Iterable[object]) -> str:
    """Write the key that translates the values of predictions, as it is typed."""
    return f"'pred_map={{{', '.join(f'{value}: {label}' for value, label in zip(values, labels, strict=True))}}}'"
