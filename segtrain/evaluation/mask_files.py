"""Score files of masks against files of masks: read by threads, counted pair by pair, never all in memory."""

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

from segtrain.data.files.images import ANY_SIZE, decode_mask, read_mask
from segtrain.data.files.inspection import colours_in
from segtrain.data.files.labels import MANY, UNKNOWN, LabelMap, listing
from segtrain.data.files.mask_pairs import MaskPair
from segtrain.data.files.verify import RGB, first_few, held_values, palettes_that_differ, strange_values
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
    """What all pairs gave, in their order; ``confusion`` is ``(groups, L, L)``, summed over them."""

    counts: Counts
    confusion: Tensor
    contours: Contours


class StrangeValuesError(DataError):
    """A mask that holds values without a label: which of the two it is, and all of its values."""

    def __init__(self, kind: Literal["truth", "pred"], file: Path, values: tuple[int, ...]) -> None:
        super().__init__(f"{file}: mask holds {listing(values)}, not all of which have a label")
        self.kind, self.file, self.values = kind, file, values


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores files against each other: what their values stand for, and what is measured beside the counts.

    ``missing`` is the label of a whole mask that has no file. ``palettes`` collects the colours of the values in
    indexed files, as they are read.
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
        """Score one pair; raises as `read`."""
        prediction, target = (torch.from_numpy(labels)[None] for labels in self.read(pair))
        table = confusion(prediction, target, self.task)
        contours = self.contours()
        contours.measure(prediction, target)
        return Scored(Counts.from_confusion(table, self.task), table.sum(0), contours)

    def read(self, pair: MaskPair) -> tuple[Labels, Labels]:
        """Read prediction and truth as labels ``(H, W)``, or of classes that overlap ``(C, H, W)``.

        Raises DataError where a file cannot be read, sizes differ, or, as StrangeValuesError, values have no label.
        What is predicted at ignored pixels does not matter.
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
        """Make the measure of contours, which measures nothing unless asked to."""
        return Contours(self.task, boundary=self.boundary, surface=self.surface, absent=self.absent)

    def _read_files(self, pred_file: Path, truth_file: Path | None) -> tuple[Labels, Labels]:
        """Read the labels of a prediction and its truth, ``(H, W)``."""
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
    """Collect the values that mask files hold."""
    return {
        value
        for values in _each(lambda file: held_values(read_mask(file, max_pixels=ANY_SIZE)), files, on_image)
        for value in values
    }


def score_masks(pairs: Sequence[MaskPair], scorer: Scorer, *, on_image: Callable[[], None] = lambda: None) -> Scored:
    """Score every pair; ``on_image`` is called after each.

    Raises one DataError, after all were looked at, with a line for each file that cannot be used, and one for all
    masks of a folder whose values have no label.
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
    """Return what is wrong with a pair instead of raising it, so that all others are looked at too."""

    def compare(pair: MaskPair) -> Scored | DataError:
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
            problems += [line.replace("data.class_map", key) for line in palettes_that_differ(palettes, labels)]
    return problems


def _refuse(problems: Sequence[str], strange: Sequence[StrangeValuesError], scorer: Scorer) -> None:
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
        return labels.remedy(dict.fromkeys(values, 1), task.class_names).replace("data.", "")
    held = sorted(values)
    if len(held) == task.num_labels:
        return f"add {_as_map(held, range(len(held)))}"
    known = ["?" if labels.label_of(value) is None else str(labels.label_of(value)) for value in held]
    named = "" if task.classes_overlap else "name each value in classes, or "
    return f"{named}say what each stands for, a label in place of ?: {_as_map(held, known)}"


def _as_map(values: Iterable[int], labels: Iterable[object]) -> str:
    """Write the key that translates the values of predictions, as it is typed."""
    return f"'pred_map={{{', '.join(f'{value}: {label}' for value, label in zip(values, labels, strict=True))}}}'"
