"""Optional measures of `segtrain eval`: contours, precision-recall curves, calibration, intervals."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.config.schema import EvalOptions
from segtrain.drawing.plots import precision_recall_picture, reliability_picture
from segtrain.evaluation.contours import Contours, intervals
from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.metrics import Calibration, CalibrationScores, Counts, Curves, PrecisionRecall, SurfaceDistances
from segtrain.runtime.world import World
from segtrain.storage import write_picture, write_table
from segtrain.task import Task, make_task

T = TypeVar("T")


class Measures:
    """Accumulates measures over batches; once results are read, nothing may be added.

    Probabilities are those after the temperature of the model's operating point; its thresholds do not
    matter for them.
    """

    def __init__(self, task: Task, options: EvalOptions, point: OperatingPoint) -> None:
        self.task, self.options, self.point = task, options, point
        self.contours = Contours(task, boundary=options.boundary, surface=options.surface, absent=options.absent)
        # the same task without the thresholds of the operating point: curves look at all thresholds
        by_probability = make_task(task.mode, task.class_names, ignore_index=task.ignore_index)
        self.curves, self.calibration = Curves(by_probability), Calibration(by_probability)
        self.on_logits = options.curves or options.calibrate
        self.ids: list[str] = []  # of the images measured here

    def update(self, logits: Tensor, prediction: Tensor, target: Tensor, ids: Sequence[str]) -> None:
        """Measure images of one size: logits, and prediction and target in the layout of the task."""
        self.ids += ids
        self.contours.measure(prediction, target)
        if self.on_logits:
            scaled = logits if self.point.temperature == 1 else logits.float() / self.point.temperature
            self.curves.update(scaled, target)
            self.calibration.update(scaled, target, ids)

    def gather(self, world: World, ids: Sequence[str]) -> None:
        """Add what the other ranks measured; call it before results are read, with the ids of all images in order."""
        if world.is_alone:
            return
        places = defaultdict[str, list[int]](list)
        for place, name in enumerate(_of_all(world, self.ids)):
            places[name].append(place)
        order = [places[name].pop(0) for name in ids]  # of the images as the ranks have them, one rank after the other
        contours, curves, calibration = self.contours, self.curves, self.calibration
        if counts := _of_all(world, contours.counts):
            contours.counts = [Counts.cat(counts).map(lambda column: column[order])]
        if distances := _of_all(world, contours.distances):
            contours.distances = [SurfaceDistances.cat(distances).map(lambda column: column[order])]
        if self.on_logits:
            calibration.add_samples()
            tables = (curves.histogram, calibration.table, calibration.nll)
            curves.histogram, calibration.table, calibration.nll = (world.sum(table.cpu().clone()) for table in tables)
            of_curves, of_bins = (
                _of_all(world, [one.cpu() for one in part.by_image]) for part in (curves, calibration)
            )
            curves.by_image = [of_curves[place] for place in order]
            calibration.by_image = [torch.cat(of_bins)[order]]

    @cached_property  # computed once: `update` after it would be ignored
    def _precision_recall(self) -> PrecisionRecall:
        return self.curves.result()

    @cached_property
    def _calibration_scores(self) -> CalibrationScores:
        return self.calibration.result()

    def scores(self, counts: Counts) -> dict[str, Any]:
        """Return all measures as plain numbers, for scores.json; counts are ``(N, C)``."""
        found = self.contours.scores()
        if self.on_logits:
            found |= {"thresholds": self._thresholds(), "calibration": asdict(self._calibration_scores)}
        if self.options.bootstrap:
            found["intervals"] = self._intervals(counts)
        return found

    def _intervals(self, counts: Counts) -> dict[str, Any]:
        confidence, replicates = self.options.confidence, self.options.bootstrap
        found = intervals(counts, self.contours, confidence=confidence, replicates=replicates)
        if self.on_logits:
            mean, *by_class = self.curves.intervals(confidence=confidence, replicates=replicates)
            found["average_precision"] = mean
            for name, ends in zip(self.task.class_names, by_class, strict=True):
                found["per_class"][name]["average_precision"] = ends
            found["ece"] = self.calibration.interval(confidence=confidence, replicates=replicates)
        return found

    def _thresholds(self) -> dict[str, Any]:
        """Return the average precision and the best threshold of each class; None for an absent one."""
        curves = self._precision_recall
        found: dict[str, Any] = {}
        rows = zip(self.task.class_names, curves.average_precision.tolist(), curves.best, strict=True)
        for name, average, best in rows:
            found[name] = {"average_precision": average, **asdict(best)} if best else None
        return found

    def operating_point(self) -> OperatingPoint:
        """Return the best operating point: the fitted temperature, and thresholds if the task has them.

        A class that the truth lacks keeps the threshold 1/2.
        """
        temperature = self._calibration_scores.temperature or 1.0
        if not self.task.has_thresholds:
            return self.point.refined(temperature, None)
        best = self._precision_recall.best
        return self.point.refined(temperature, [0.5 if found is None else found.threshold for found in best])

    def write(self, folder: Path) -> dict[str, NDArray[np.uint8]]:
        """Write precision-recall curves and reliability as CSV and PNG; returns the pictures by name.

        Where they were not measured, files of an earlier evaluation are removed.
        """
        if not self.on_logits:
            for name in ("precision_recall", "reliability"):
                for suffix in ("csv", "png"):
                    (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            return {}
        curves, calibration = self._precision_recall, self._calibration_scores
        names = self.task.class_names
        header = ["threshold", *(f"{what}:{name}" for name in names for what in ("precision", "recall"))]
        columns = [column for pair in zip(curves.precision, curves.recall, strict=True) for column in pair]
        steps = zip(curves.thresholds.tolist(), *(column.tolist() for column in columns), strict=True)
        # one row per change; by repr, because NaN, which is not equal to itself, would start a row each time
        rows = [next(group) for _, group in groupby(steps, key=lambda step: repr(step[1:]))]
        write_table(folder / "precision_recall.csv", [header, *rows])
        bins = [[number, *asdict(row).values()] for number, row in enumerate(calibration.reliability)]
        write_table(folder / "reliability.csv", [["bin", "decisions", "confidence", "accuracy"], *bins])
        pictures = {
            "precision_recall": precision_recall_picture(curves, names),
            "reliability": reliability_picture(calibration),
        }
        for name, picture in pictures.items():
            write_picture(folder / f"{name}.png", picture)
        return pictures


def _of_all(world: World, own: list[T]) -> list[T]:
    """Return the lists of all ranks as one."""
    return list(chain.from_iterable(world.gather(own)))
