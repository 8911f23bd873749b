"""Scoring of predicted mask files against true ones, in threads, a pair at a time."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.doctor.finding import first_few
from segtrain.data.doctor.mask_checks import RGB, palettes_that_differ, strange_values
from segtrain.data.files.images import ANY_SIZE, decode_mask, read_mask
from segtrain.data.files.inspection import colours_in
from segtrain.data.files.labels import MANY, UNKNOWN, LabelMap, listing
from segtrain.data.files.mask_pairs import MaskPair
from segtrain.data.sample import Pixels
from segtrain.errors import DataError
from segtrain.evaluation.contours import Contours
from segtrain.metrics import Absent, Counts, confusion
from segtrain.task import IGNORE_INDEX, Task

Labels: TypeAlias = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one or more pairs, in their order; ``confusion`` is ``(groups, L, L)``, summed over them."""

    counts: Counts
    confusion: Tensor
    contours: Contours


class StrangeValuesError(DataError):
    """A predicted or true mask that holds values without a label; ``values`` are all that it holds."""

    def __init__(self, kind: Literal["truth", "pred"], file: Path, values: tuple[int, ...]) -> None:
        super().__init__(f"{file}: mask holds {listing(values)}, not all of which have a label")
        self.kind, self.file, self.values = kind, file, values


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores pairs of mask files: their label maps, and what is measured besides the counts.

    ``missing`` is the label of every pixel of a true mask without a file. ``palettes`` collects the
    palette's colours of values in indexed files, as they are read.
    """

    task: Task
    truth_labels: LabelMap
    pred_labels: LabelMap
    missing: int = IGNORE_INDEX
    boundary: bool = False
    surface: bool = False
    absent: Absent = "exclude"
    palettes: dict[Path, dict[int, RGB]] = field(default_factory=dict)

    def __call__(self, pair: MaskPair) -> Scored:
        """Score one pair; raises as `read` does."""
        prediction, target = (torch.from_numpy(labels)[None] for labels in self.read(pair))  # (1, [C,] H, W)
        table = confusion(prediction, target, self.task)  # (1, groups, L, L)
        contours = self.contours()
        contours.measure(prediction, target)
        return Scored(Counts.from_confusion(table, self.task), table.sum(0), contours)

    def read(self, pair: MaskPair) -> tuple[Labels, Labels]:
        """Read prediction and truth as labels ``(H, W)``, or ``(C, H, W)`` if multilabel.

        Raises `DataError` where a file cannot be read or sizes differ, `StrangeValuesError` where
        values have no label; predictions at ignored pixels may have any value.
        """
        maps = [self._read_files(*files) for files in zip(pair.preds, pair.truths, strict=True)]
        first = maps[0][0]
        for file, (prediction, _) in zip(pair.preds, maps, strict=True):
            if prediction.shape != first.shape:
                raise DataError(_wrong_size(file, prediction.shape, pair.preds[0], first.shape))
        if not self.task.classes_overlap:
            return maps[0]
        predictions, targets = zip(*maps, strict=True)
        return np.stack(predictions), np.stack(targets)

    def contours(self) -> Contours:
        """Return a new accumulator of contour measures; it measures what the options ask for, or nothing."""
        return Contours(self.task, boundary=self.boundary, surface=self.surface, absent=self.absent)

    def _read_files(self, pred_file: Path, truth_file: Path | None) -> tuple[Labels, Labels]:
        """Read the labels of a prediction and its truth, both ``(H, W)``."""
        pred = self._read_file(pred_file, self.pred_labels)
        prediction = self.pred_labels(pred)
        if truth_file is None:
            target = np.full_like(prediction, self.missing)
        else:
            truth = self._read_file(truth_file, self.truth_labels)
            if pred.shape != truth.shape:
                raise DataError(_wrong_size(pred_file, pred.shape, truth_file, truth.shape))
            target = self.truth_labels(truth)
            if (target == UNKNOWN).any():
                raise StrangeValuesError("truth", truth_file, held_values(truth))
        # UNKNOWN and ignored values are above all labels; where the truth is ignored, they do not matter
        counted = target != IGNORE_INDEX
        if (counted & (prediction >= self.task.num_labels)).any():
            raise StrangeValuesError("pred", pred_file, held_values(pred[counted]))
        return prediction, target

    def _read_file(self, file: Path, labels: LabelMap) -> Pixels:
        """Read the values of a mask, and keep the colours that its palette gives them."""
        pixels, palette = decode_mask(file, by_colour=labels.by_colour, max_pixels=ANY_SIZE)
        if palette is not None:
            self.palettes[file] = colours_in(palette, held_values(pixels))
        return pixels


def find_values(files: Iterable[Path], on_image: Callable[[], None] = lambda: None) -> set[int]:
    """Return the set of values in mask files; ``on_image`` is called after each."""
    found: set[int] = set()
    for values in _each(lambda file: held_values(read_mask(file, max_pixels=ANY_SIZE)), files, on_image):
        found.update(values)
    return found


def held_values(mask: Pixels) -> tuple[int, ...]:
    """List the values that a mask ``(H, W)`` holds, ascending."""
    return tuple(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def score_masks(pairs: Sequence[MaskPair], scorer: Scorer, *, on_image: Callable[[], None] = lambda: None) -> Scored:
    """Score every pair; ``on_image`` is called after each.

    Raises one `DataError` after all pairs, with a line for each file that cannot be used, and one for
    all masks of a folder with values without a label.
    """
    counts: list[Counts] = []
    matrix = torch.zeros((), dtype=torch.int64)
    contours = scorer.contours()
    problems: list[str] = []
    strange: list[StrangeValuesError] = []
    for found in _each(_reporting(scorer), pairs, on_image):
        if isinstance(found, StrangeValuesError):
            strange.append(found)
        elif isinstance(found, DataError):
            problems.append(str(found))
        else:
            counts.append(found.counts)
            matrix = matrix + found.confusion
            contours.counts += found.contours.counts
            contours.distances += found.contours.distances
    _refuse([*problems, *_palettes_that_differ(pairs, scorer)], strange, scorer)
    return Scored(Counts.cat(counts), matrix, contours)


def _reporting(scorer: Scorer) -> Callable[[MaskPair], Scored | DataError]:
    """Wrap a scorer to return a `DataError` instead of raising it, so that the other pairs are scored too."""

    def compare(pair: MaskPair) -> Scored | DataError:
        try:
            return scorer(pair)
        except DataError as error:
            return error

    return compare


def _each(function: Callable[[T], R], items: Iterable[T], on_image: Callable[[], None]) -> Iterator[R]:
    """Apply a function to every item, in a thread per core; yields the results in order."""
    threads = torch.get_num_threads()
    try:  # one torch thread in each of ours, or there would be cores x cores of them
        with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for result in pool.map(function, items):
                on_image()
                yield result
    finally:
        torch.set_num_threads(threads)


def _wrong_size(pred: Path, size: tuple[int, ...], other: Path, expected: tuple[int, ...]) -> str:
    (height, width), (other_height, other_width) = size, expected
    return (
        f"{pred}: {width}x{height} pixels, expected {other_width}x{other_height} as {other}; "
        "predict at the size of the image, or resize the mask without interpolation"
    )


def _palettes_that_differ(pairs: Sequence[MaskPair], scorer: Scorer) -> list[str]:
    """Describe palettes of a folder in which one value has several colours: it then stands for no one class."""
    problems = []
    for place in range(len(pairs[0].truths)):  # a folder for each class, where classes overlap
        sides = (
            ("class_map", scorer.truth_labels, [pair.truths[place] for pair in pairs]),
            ("pred_map", scorer.pred_labels, [pair.preds[place] for pair in pairs]),
        )
        for key, labels, files in sides:
            palettes = {file: scorer.palettes[file] for file in files if file in scorer.palettes}
            problems += [str(each).replace("data.class_map", key) for each in palettes_that_differ(palettes, labels)]
    return problems


def _refuse(problems: Sequence[str], strange: Sequence[StrangeValuesError], scorer: Scorer) -> None:
    """Raise one `DataError` with all problems, if there are any."""
    lines = first_few(problems)
    labels = {"truth": scorer.truth_labels, "pred": scorer.pred_labels}
    for kind, label_map in labels.items():
        found = [mask for mask in strange if mask.kind == kind]
        if found:
            values = {value for mask in found for value in mask.values}
            remedy = _remedy(kind, values, label_map, scorer.task)
            files = [mask.file for mask in found]
            lines.append(str(strange_values(files, found[0].values, label_map, remedy)))
    if lines:
        raise DataError("\n".join(lines))


def _remedy(kind: str, values: Collection[int], labels: LabelMap, task: Task) -> str:
    """Suggest options that give a label to every value in the masks of a folder."""
    if kind == "truth" or len(values) > max(MANY, 2 * task.num_labels):
        # `LabelMap` writes the keys of training, data.class_map; score has them at the top level
        return labels.remedy(dict.fromkeys(values, 1), task.class_names).replace("data.", "")
    held = sorted(values)
    if len(held) == task.num_labels:
        return f"add {_as_map(held, range(len(held)))}"
    known = ["?" if labels.label_of(value) is None else str(labels.label_of(value)) for value in held]
    named = "" if task.classes_overlap else "name each value in classes, or "
    return f"{named}say what each stands for, a label in place of ?: {_as_map(held, known)}"


def _as_map(values: Iterable[int], labels: Iterable[object]) -> str:
    """Write the override that translates the values of predictions, quoted for a shell."""
    pairs = ", ".join(f"{value}: {label}" for value, label in zip(values, labels, strict=True))
    return f"'pred_map={{{pairs}}}'"
