"""Boundary IoU and surface distances, image by image; optional, as they are slower than counting."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from segtrain.metrics import Absent, Counts, SurfaceDistances, count_boundary, iou, score_intervals, surface_distances
from segtrain.metrics.bootstrap import bootstrap
from segtrain.metrics.reductions import class_mean
from segtrain.task import Task


class Contours:
    """Accumulates boundary IoU and surface distances over the images of a split."""

    def __init__(self, task: Task, *, boundary: bool, surface: bool, absent: Absent = "exclude") -> None:
        self.task, self.boundary, self.surface, self.absent = task, boundary, surface, absent
        self.counts: list[Counts] = []
        self.distances: list[SurfaceDistances] = []

    def measure(self, prediction: Tensor, target: Tensor) -> None:
        """Measure labels of images of one size, ``(N, H, W)`` or multilabel ``(N, C, H, W)``; on the CPU."""
        if self.boundary:
            self.counts.append(count_boundary(prediction, target, self.task))
        if self.surface:
            self.distances.append(surface_distances(prediction, target, self.task))

    def scores(self) -> dict[str, Any]:
        """Return the mean and the value of each class, by measure, as plain numbers; None for NaN.

        Distances are means over the images that have one, in pixels. An absent class has none,
        whatever ``absent`` says.
        """
        found: dict[str, Any] = {}
        once = torch.ones(1, self.images, dtype=torch.float64)  # (B, N): every image once
        for name, statistic in self._statistics().items():
            mean, *by_class = map(_plain, statistic(once)[0].tolist())
            found[name] = {"mean": mean, "per_class": dict(zip(self.task.class_names, by_class, strict=True))}
        return found

    def intervals(self, *, replicates: int, confidence: float) -> dict[str, list[list[float] | None]]:
        """Return bootstrap intervals ``[low, high]`` by measure: of the mean over classes, then of each."""
        draw = partial(bootstrap, images=self.images, replicates=replicates, confidence=confidence)
        return {name: draw(statistic) for name, statistic in self._statistics().items()}

    @property
    def images(self) -> int:
        """The number of images measured."""
        parts = [counts.tp for counts in self.counts] or [distances.average for distances in self.distances]
        return sum(map(len, parts))

    def _statistics(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return functions of bootstrap weights ``(B, N)`` to scores ``(B, 1 + C)``, the mean first.

        A weight is how often an image is drawn in a replicate.
        """
        found: dict[str, Callable[[Tensor], Tensor]] = {}
        if self.counts:
            found["boundary_iou"] = partial(_boundary_iou, Counts.cat(self.counts), self.absent)
        for name in ("hausdorff", "average") if self.distances else ():
            by_image = torch.cat([getattr(distances, name) for distances in self.distances])  # (N, C)
            found[f"surface_{name}"] = partial(_mean_distance, by_image)
        return found


def intervals(counts: Counts, contours: Contours, *, replicates: int, confidence: float) -> dict[str, Any]:
    """Return the bootstrap intervals of all scores, as in ``scores.json``; counts are ``(N, C)``."""
    names = contours.task.class_names
    found = score_intervals(counts, names, absent=contours.absent, replicates=replicates, confidence=confidence)
    for measure, (mean, *by_class) in contours.intervals(replicates=replicates, confidence=confidence).items():
        found[measure] = mean
        for name, ends in zip(names, by_class, strict=True):
            found["per_class"][name][measure] = ends
    return {"confidence": confidence, "replicates": replicates, **found}


def _boundary_iou(counts: Counts, absent: Absent, weights: Tensor) -> Tensor:
    # (B, N) @ (N, C) in float64, which holds pixel counts exactly: float32 would round above 2**24
    total = counts.map(lambda pixels: (weights @ pixels.double()).long())
    return torch.cat([class_mean(total, iou, absent=absent).unsqueeze(1), iou(total)], 1)


def _mean_distance(by_image: Tensor, weights: Tensor) -> Tensor:
    # (B, N) @ (N, C) -> (B, C); NaN marks images without a distance, which count neither above nor below
    by_class = weights @ by_image.nan_to_num() / (weights @ (~by_image.isnan()).double())
    return torch.cat([by_class.nanmean(1, keepdim=True), by_class], 1)


def _plain(value: float) -> float | None:
    return value if value == value else None  # NaN, which JSON has not
