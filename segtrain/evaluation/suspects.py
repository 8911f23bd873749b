"""Suspected label errors: regions where a model is sure of another label than the one that is given."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segtrain.task import Task

SURE = 0.5
"""The least margin of a suspected pixel, the probability of the predicted label minus that of the given one."""
_THIN = 0.01  # of the image's diagonal: what holds no disc of that radius is an outline, drawn a little otherwise
_COLUMNS = ("id", "given", "predicted", "pixels", "margin", "score", "x", "y", "width", "height")


@dataclass(frozen=True)
class Suspect:
    """A region of an image with one label given and another predicted, in pixels of the size that was scored.

    ``margin`` is the mean over its ``pixels`` of the probability of the predicted label minus that of the given one;
    ``score`` their sum, as a share of the image's pixels: by it suspects are ranked. ``x`` and ``y`` are the column and
    the row of the upper left corner of the box around it.
    """

    id: str
    given: str
    predicted: str
    pixels: int
    margin: float
    score: float
    x: int
    y: int
    width: int
    height: int

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Suspect":
        """Read what `vars` of one gave, as JSON has it."""
        return cls(**{name: row[name] for name in _COLUMNS})


class Suspects:
    """Keeps the ``most`` regions that are most suspected, over all images of a split.

    Confident disagreement as in confident learning (Northcutt et al. 2021), of regions in place of whole images: where
    a model that has not seen an image in training is sure, and the mask says otherwise, the mask is often wrong. Of
    images that it was trained on, it may have learned the errors too.
    """

    def __init__(self, task: Task, *, most: int) -> None:
        self.task, self.most = task, most
        self._heap: list[tuple[float, int, Suspect]] = []  # the least suspected first
        self._found = 0

    def update(self, logits: Tensor, prediction: Tensor, target: Tensor, ids: Sequence[str]) -> None:
        """Look at images of one size; logits ``(N, out_channels, H, W)``, labels in the layout of the task."""
        known = self.task.is_known(target)
        given = target.long().where(known, prediction)
        # `likelihood` of the labels: of every task in the layout of its target
        margin = self.task.likelihood(logits.float(), prediction) - self.task.likelihood(logits.float(), given)
        maps = [each.cpu().numpy() for each in (margin, prediction, given)]
        for name, *of_image in zip(ids, *maps, strict=True):
            for suspect in self._in_image(name, *of_image):
                self._keep(suspect)

    def ranked(self) -> list[Suspect]:
        """List the suspects, the most suspected first."""
        return [suspect for *_, suspect in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]

    def _keep(self, suspect: Suspect) -> None:
        self._found += 1
        entry = (suspect.score, -self._found, suspect)  # of equals the first found stays
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def _in_image(
        self, name: str, margin: NDArray[np.float32], prediction: NDArray[np.int64], given: NDArray[np.int64]
    ) -> Iterator[Suspect]:
        if not self.task.classes_overlap:
            yield from _regions(name, margin, prediction, given, self.task.value_names)
            return
        for number, of_class in enumerate(self.task.class_names):
            words = (f"not {of_class}", of_class)
            yield from _regions(name, margin[number], prediction[number], given[number], words)


def _regions(
    name: str,
    margin: NDArray[np.float32],
    prediction: NDArray[np.int64],
    given: NDArray[np.int64],
    words: Sequence[str],
) -> Iterator[Suspect]:
    """Yield the suspected regions of a label map ``(H, W)``, each of one given and one predicted label."""
    sure = (margin > SURE) & (prediction != given)
    kinds, counts = np.unique(given[sure] * len(words) + prediction[sure], return_counts=True)
    radius = max(1, round(_THIN * math.hypot(*sure.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    for kind in kinds[counts >= np.count_nonzero(disc)]:
        label, other = divmod(int(kind), len(words))
        mask = (sure & (given == label) & (prediction == other)).astype(np.uint8)
        # opened: what is left holds a disc everywhere; by OpenCV's default the image's border bounds no region
        thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(thick, connectivity=8)
        sums = np.bincount(parts.ravel(), weights=margin.ravel(), minlength=count)
        for part in range(1, count):
            x, y, width, height, pixels = map(int, stats[part])
            score = float(sums[part]) / margin.size
            mean = float(sums[part]) / pixels
            yield Suspect(name, words[label], words[other], pixels, mean, score, x, y, width, height)


def suspect_table(suspects: Sequence[Suspect]) -> Iterator[list[object]]:
    """Yield the rows of suspects.csv, its header first, with an empty column for what somebody decides."""
    yield ["rank", *_COLUMNS, "verdict"]
    for rank, suspect in enumerate(suspects, 1):
        cells = [getattr(suspect, name) for name in _COLUMNS]
        yield [rank, *(round(cell, 6) if isinstance(cell, float) else cell for cell in cells), ""]


def suspect_list(suspects: Sequence[Suspect], files: Mapping[str, str]) -> str:
    """Write the images of suspects, each once, a line each: as ``data.val_list`` of `segtrain check data=folder`.

    ``files`` are their paths by id; without one a line is the id.
    """
    names = dict.fromkeys(suspect.id for suspect in suspects)
    return "".join(f"{files.get(name, name)}\n" for name in names)
