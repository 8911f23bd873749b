"""What `segtrain report` looks at beside scores: IoU by distance and size, suspected labels, images to draw."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.evaluation.suspects import Suspects
from segtrain.metrics import Counts, Objects, count_by_distance, iou, object_ious
from segtrain.metrics.bootstrap import bootstrap
from segtrain.metrics.border import DISTANCES
from segtrain.metrics.objects import SIDES
from segtrain.task import Task


class CloserLook:
    """Accumulates over the images of a split; probabilities are those after the temperature of the operating point."""

    def __init__(self, task: Task, point: OperatingPoint, *, suspects: int) -> None:
        self.task, self.point = task, point
        self.bands: list[Counts] = []
        self.objects: list[Objects] = []
        self.suspects = Suspects(task, most=suspects)
        self.images = 0

    def update(self, logits: Tensor, prediction: Tensor, target: Tensor, ids: Sequence[str]) -> None:
        """Measure images of one size: logits, and prediction and target in the layout of the task."""
        self.bands.append(count_by_distance(prediction, target, self.task))
        found = object_ious(prediction, target, self.task)
        self.objects.append(Objects(found.image + self.images, found.class_number, found.area, found.iou))
        self.images += len(target)
        self.suspects.update(logits.float() / self.point.temperature, prediction, target, ids)

    def result(self, *, replicates: int, confidence: float) -> dict[str, Any]:
        """Return all as plain numbers; ``replicates`` of 0 leave the intervals out.

        By distance and by size there is a row for each class, with a cell for each band or group of sizes.
        """
        ends = partial(bootstrap, images=self.images, replicates=replicates, confidence=confidence)
        counts = Counts.cat(self.bands)
        names, shape = self.task.class_names, counts.tp.shape[1:]  # (C, bands)
        total = counts.total()
        bands = ends(partial(_band_iou, counts)) if replicates else [None] * shape.numel()
        objects = _by_size(Objects.cat(self.objects), self.images, len(names))
        sizes = ends(partial(_mean_iou, *objects)) if replicates else [None] * (len(names) * (len(SIDES) + 1))
        number, mean = objects[1].sum(0), objects[0].sum(0) / objects[1].sum(0)
        return {
            "images": self.images,
            "distances": list(DISTANCES),
            "by_distance": _rows(names, iou(total), total.support(), bands),
            "sides": list(SIDES),
            "by_size": _rows(names, mean.view(len(names), -1), number.view(len(names), -1), sizes),
            "suspects": [vars(suspect) for suspect in self.suspects.ranked()],
        }


def _rows(
    names: Sequence[str], values: Tensor, support: Tensor, intervals: Sequence[list[float] | None]
) -> dict[str, list[dict[str, Any]]]:
    """Lay out cells by class: value, its interval, and of how many pixels or objects it is."""
    ends = iter(intervals)
    return {
        name: [
            {"iou": None if value != value else value, "support": int(number), "interval": next(ends)}
            for value, number in zip(row, held, strict=True)
        ]
        for name, row, held in zip(names, values.tolist(), support.tolist(), strict=True)
    }


def _band_iou(counts: Counts, weights: Tensor) -> Tensor:
    """IoU of each class and band, ``(B, C * bands)``, of images drawn so often, ``(B, N)``."""
    # float64 holds sums of pixels exactly
    total = counts.map(lambda pixels: (weights @ pixels.double().flatten(1)).view(-1, *pixels.shape[1:]).long())
    return iou(total).flatten(1)


def _by_size(objects: Objects, images: int, classes: int) -> tuple[Tensor, Tensor]:
    """Sum IoU and number of the objects of each image, by class and size: float64 ``(N, C * sizes)`` both."""
    sizes = len(SIDES) + 1
    place = (objects.image * classes + objects.class_number) * sizes + objects.sizes()
    length = images * classes * sizes
    number = torch.bincount(place, minlength=length).double().view(images, -1)
    return torch.bincount(place, weights=objects.iou, minlength=length).view(images, -1), number


def _mean_iou(sums: Tensor, number: Tensor, weights: Tensor) -> Tensor:
    return (weights @ sums) / (weights @ number)  # NaN where no object was drawn


class Shown(NamedTuple):
    """An image to draw: why, of which class, and its IoU and wrong pixels of that class."""

    kind: str
    class_name: str
    id: str
    iou: float
    fp: int
    fn: int


def extremes(counts: Counts, ids: Sequence[str], class_names: Sequence[str], *, each: int, classes: int) -> list[Shown]:
    """Choose the images with the least and the greatest IoU of each class, by counts ``(N, C)``.

    Of equal IoU first those with most wrong pixels among the worst, with most right ones among the best. An image in
    which neither truth nor prediction has the class is none of its images, and none is among both. Of more than
    ``classes`` classes, those with the least IoU.
    """
    values = iou(counts)  # (N, C)
    wrong, right = counts.fp + counts.fn, counts.tp
    order = iou(counts.total()).nan_to_num(2.0).argsort(stable=True)[:classes].sort().values.tolist()
    found: list[Shown] = []
    for number in order:
        held = torch.nonzero(~values[:, number].isnan()).flatten().tolist()
        column, mistakes, hits = (table[:, number].tolist() for table in (values, wrong, right))
        worst = sorted(held, key=lambda place: (column[place], -mistakes[place]))[: min(each, (len(held) + 1) // 2)]
        rest = [place for place in held if place not in worst]
        best = sorted(rest, key=lambda place: (-column[place], -hits[place]))[:each]
        for kind, places in (("worst", worst), ("best", best)):
            found += [
                Shown(
                    kind,
                    class_names[number],
                    ids[place],
                    column[place],
                    int(counts.fp[place, number]),
                    int(counts.fn[place, number]),
                )
                for place in places
            ]
    return found
