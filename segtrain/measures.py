"""All that `segtrain eval` measures in its one pass beside the counts, by the options of its config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from segtrain.config.schema import ScoringConfig
from segtrain.contours import Contours
from segtrain.metrics import Counts, score_intervals
from segtrain.task import Task

Measure: TypeAlias = Callable[[Tensor, Tensor], None]


class Measures:
    """Streams over logits and labels; asked once at the end."""

    def __init__(self, task: Task, options: ScoringConfig) -> None:
        self.task, self.options = task, options
        self.contours = Contours(task, boundary=options.boundary, surface=options.surface)
        self.on_logits: list[Measure] = []
        self.on_labels: list[Measure] = [self.contours.measure] if options.boundary or options.surface else []

    def scores(self, counts: Counts) -> dict[str, Any]:
        """Give all of it as plain numbers, for scores.json."""
        found = self.contours.scores()
        if self.options.bootstrap:
            found["intervals"] = {
                "confidence": self.options.confidence,
                "replicates": self.options.bootstrap,
                **score_intervals(
                    counts,
                    self.task.class_names,
                    absent=self.options.absent,
                    replicates=self.options.bootstrap,
                    confidence=self.options.confidence,
                ),
            }
        return found

    def write(self, folder: Path) -> None:
        """Write the tables and pictures of curves and calibration."""
