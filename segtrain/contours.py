"""How well contours fit, measured image by image where a user asks for it: it is slower than counting."""

from typing import Any

import torch
from torch import Tensor

from segtrain.metrics import Absent, Counts, SurfaceDistances, count_boundary, iou, macro, surface_distances
from segtrain.task import Task


class Contours:
    """Boundary IoU and surface distances of a split, gathered from predicted labels and targets of one size at once."""

    def __init__(self, task: Task, *, boundary: bool, surface: bool, absent: Absent = "exclude") -> None:
        self.task, self.boundary, self.surface, self.absent = task, boundary, surface, absent
        self.counts: list[Counts] = []
        self.distances: list[SurfaceDistances] = []

    def measure(self, prediction: Tensor, target: Tensor) -> None:
        """Measure images ``(N, H, W)``, multilabel ``(N, C, H, W)``; on the CPU."""
        if self.boundary:
            self.counts.append(count_boundary(prediction, target, self.task))
        if self.surface:
            self.distances.append(surface_distances(prediction, target, self.task))

    def scores(self) -> dict[str, Any]:
        """Give what was asked for, over all images, as plain numbers.

        Distances are means over the images that have one, in pixels; an absent class has none, whatever it counts as.
        """
        found: dict[str, Any] = {}
        if self.counts:
            counts = Counts.cat(self.counts)
            found["boundary_iou"] = self._both(macro(counts, iou, absent=self.absent), iou(counts.total()))
        if self.distances:
            for name in ("hausdorff", "average"):
                by_class = torch.cat([getattr(distances, name) for distances in self.distances]).nanmean(0)
                found[f"surface_{name}"] = self._both(by_class.nanmean(), by_class)
        return found

    def _both(self, mean: Tensor, by_class: Tensor) -> dict[str, Any]:
        rows = zip(self.task.class_names, by_class.tolist(), strict=True)
        return {"mean": _plain(float(mean)), "per_class": {name: _plain(value) for name, value in rows}}


def _plain(value: float) -> float | None:
    return value if value == value else None
