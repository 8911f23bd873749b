"""Pictures of validation images with truth and prediction: a fixed few, and the best and the worst."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segtrain.data.loading.dataset import collate
from segtrain.data.loading.feed import Feed
from segtrain.data.palette import colour_names
from segtrain.drawing.pictures import heading, side_by_side, stack_with_legend
from segtrain.evaluation.evaluator import Evaluation
from segtrain.inference.network import Network
from segtrain.metrics import iou
from segtrain.task import Task

_EXTREMES = 4  # images at each end of the overview


class Gallery:
    """Draws samples of one split at the size that the model sees, with its predictions."""

    def __init__(self, feed: Feed, *, task: Task) -> None:
        self.dataset, self.task = feed.dataset, task

    def draw_fixed(self, network: Network, count: int) -> list[NDArray[np.uint8]]:
        """Draw ``count`` samples, evenly spread over the split, always the same ones."""
        count = min(count, len(self.dataset))
        return self.draw(network, [number * len(self.dataset) // count for number in range(count)])

    def draw_extremes(self, network: Network, evaluation: Evaluation) -> NDArray[np.uint8] | None:
        """Draw the images with the highest and lowest mean IoU over their classes; None if none has one."""
        values = iou(evaluation.counts).nanmean(1)  # (N,), NaN for images without any class
        scored = torch.nonzero(~values.isnan()).flatten()
        order = scored[values[scored].argsort(descending=True)].tolist()
        if not order:
            return None
        groups = {"all images, best first": order}
        if len(order) > 2 * _EXTREMES:
            groups = {"best images": order[:_EXTREMES], "worst images": order[-_EXTREMES:]}
        rows = []
        for title, chosen in groups.items():
            drawn = self.draw(network, chosen, [f"iou {values[index]:.3f}" for index in chosen])
            rows += [heading(f"{title} (iou: mean of the classes in an image)", drawn[0].shape[1]), *drawn]
        return stack_with_legend(rows, colour_names(self.task), self.dataset.source.palette)

    def draw(self, network: Network, indices: Sequence[int], notes: Sequence[str] = ()) -> list[NDArray[np.uint8]]:
        """Draw samples by index, one picture each."""
        if not indices:
            return []
        batch = collate([self.dataset[0, index] for index in indices])
        with network.evaluating():
            labels = self.task.predict(network(batch["image"]).logits).cpu().numpy()
        images, truths = batch["image"].permute(0, 2, 3, 1).numpy(), batch["mask"].numpy()  # (N, H, W, C)
        colours, value_range = self.dataset.source.palette, network.model.normalize.value_range
        return [
            side_by_side(image, truth, label, colours, name=name, score=note, value_range=value_range)
            for image, truth, label, name, note in zip(
                images, truths, labels, batch["id"], notes or [""] * len(labels), strict=True
            )
        ]
