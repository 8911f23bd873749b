"""Validation images with truth and prediction: a fixed few over time, and the best and the worst of the moment."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segtrain.data.feed import Feed
from segtrain.data.loader import collate
from segtrain.data.palette import colour_names
from segtrain.evaluator import Evaluation
from segtrain.metrics import iou
from segtrain.models import Outputs, Segmenter
from segtrain.pictures import heading, side_by_side, stack_with_legend
from segtrain.runlog import RunLog
from segtrain.runtime import Runtime
from segtrain.task import Task

_EXTREMES = 4  # images at each end of the overview


class Gallery:
    """Draws samples of one split as a model sees them."""

    def __init__(self, feed: Feed, *, runtime: Runtime, task: Task) -> None:
        self.dataset, self.runtime, self.task = feed.dataset, runtime, task

    def show(self, model: Segmenter, evaluation: Evaluation, log: RunLog, step: int, *, is_best: bool) -> None:
        """Hand the fixed images to the logger, and write the overview of the best validation."""
        count = min(log.logger.images, len(self.dataset))
        fixed = [number * len(self.dataset) // count for number in range(count)]
        for number, picture in enumerate(self.draw(model, fixed) if fixed else []):
            log.logger.picture(step, f"val/{number}", picture)
        if is_best:
            self.show_extremes(model, evaluation, log)
            report = evaluation.report(self.task, command="train", split="val", step=step)
            log.report(step, report, evaluation.confusion, self.task)
        log.restart_clock()

    def show_extremes(self, model: Segmenter, evaluation: Evaluation, log: RunLog) -> None:
        """Draw the images with the highest and the lowest mean IoU of their classes, where any has one."""
        values = iou(evaluation.counts).nanmean(1)
        scored = torch.nonzero(~values.isnan()).flatten()
        order = scored[values[scored].argsort(descending=True)].tolist()
        groups = {"all images, best first": order}
        if len(order) > 2 * _EXTREMES:
            groups = {"best images": order[:_EXTREMES], "worst images": order[-_EXTREMES:]}
        rows = []
        for title, chosen in groups.items():
            drawn = self.draw(model, chosen, [f"iou {values[index]:.3f}" for index in chosen]) if chosen else []
            width = max((row.shape[1] for row in drawn), default=1)
            rows += [heading(f"{title} (iou: mean of the classes in an image)", width), *drawn]
        if order:
            log.overview(stack_with_legend(rows, colour_names(self.task), self.dataset.source.palette))

    @torch.inference_mode()
    def draw(self, model: Segmenter, indices: Sequence[int], notes: Sequence[str] = ()) -> list[NDArray[np.uint8]]:
        """Draw samples by index, one picture each."""
        was_training = model.training
        model.eval()
        batch = collate([self.dataset[0, index] for index in indices])
        with self.runtime.autocast():
            outputs = Outputs.of(model(model.normalize(self.runtime.images(batch["image"]))))
        labels = self.task.predict(outputs.logits).cpu().numpy()
        model.train(was_training)
        images, truths = batch["image"].permute(0, 2, 3, 1).numpy(), batch["mask"].numpy()
        colours, value_range = self.dataset.source.palette, model.normalize.value_range
        return [
            side_by_side(image, truth, label, colours, name=name, score=note, value_range=value_range)
            for image, truth, label, name, note in zip(
                images, truths, labels, batch["id"], notes or [""] * len(labels), strict=True
            )
        ]
