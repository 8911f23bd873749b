"""Boundary IoU: agreement of contours, whatever the size of the object (Cheng et al. 2021)."""

import math

import numpy as np
import torch
from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.metrics.regions import Regions, class_regions, inner_band
from segtrain.task import Mode, Task, complete_task


def count_boundary(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
    width: float = 0.02,
) -> Counts:
    """Count as `count` does, but of each class only the band along its own contour; int64 on the CPU.

    `iou` of these counts is Boundary IoU, in any reduction (Cheng et al. 2021, section 4). The band
    is ``width`` times the image's diagonal wide, at least one pixel, along rows, columns and
    diagonals. The image's border is part of the contour, and so is a border to ignored pixels, for
    truth and prediction alike. ``correct`` and ``decided`` pool the decisions of all classes. Raises
    ValueError for a width that is no share.
    """
    if not 0 < width < 1:
        raise ValueError(f"width is {width}, expected a share of the image's diagonal between 0 and 1, such as 0.02")
    task = complete_task(task, mode, num_classes=num_classes)
    reach = max(1, round(width * math.hypot(*target.shape[-2:])))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    cells = [[_cells(regions, kernel) for regions in image] for image in class_regions(prediction, target, task)]
    table = torch.tensor(cells, dtype=torch.int64).view(len(target), len(task.class_names), 4)  # (N, C, 4)
    tp, fp, fn, tn = table.unbind(-1)
    return Counts(tp, fp, fn, tn, (tp + tn).sum(1), table.sum((1, 2)))


def _cells(regions: Regions, kernel: np.typing.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    truth = inner_band(regions.truth, kernel)
    predicted = inner_band(regions.predicted, kernel)
    tp, size, guessed = (int(np.count_nonzero(mask)) for mask in (truth & predicted, truth, predicted))
    # The true negatives, last, are the valid pixels in neither band.
    return tp, guessed - tp, size - tp, int(np.count_nonzero(regions.valid)) - size - guessed + tp
