"""IoU by distance from the contour of the truth: where a model errs, at outlines or far from them."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.metrics.regions import Mask, Regions, class_regions
from segtrain.task import Mode, Task, complete_task

DISTANCES = (2, 4, 8, 16, 32)
"""The last pixel of each band but the farthest, which has no end."""


def count_by_distance(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
    distances: tuple[int, ...] = DISTANCES,
) -> Counts:
    """Count each class in bands around its own true contour; int64 ``(N, C, bands)`` on the CPU.

    The distance of a pixel is the Euclidean one to the nearest pixel on the other side of the contour: of those in
    the true region to the nearest one outside, of the others to the nearest one in it, so that it is 1 at the contour.
    Band b holds the valid pixels above ``distances[b - 1]`` (0 for the first), up to ``distances[b]``; the last all
    that are farther, and all of an image without a contour. Ignored pixels are outside of every region; the image's
    border is no contour. Such bands are the trimaps of Kohli, Ladický and Torr (2009), which are nested
    there: each holds those within. `iou` of these counts is the IoU in a band. ``correct`` and ``decided`` are by band,
    ``(N, bands)``, and pool the decisions of all classes. Raises ValueError for distances that do not ascend from 1 on.
    """
    if not distances or distances[0] < 1 or list(distances) != sorted(set(distances)):
        raise ValueError(f"distances are {distances}, expected pixels that ascend, such as {DISTANCES}")
    task = complete_task(task, mode, num_classes=num_classes)
    cells = [[_cells(regions, distances) for regions in image] for image in class_regions(prediction, target, task)]
    shape = (len(target), len(task.class_names), len(distances) + 1, 4)
    table = torch.from_numpy(np.array(cells, np.int64)).view(shape)  # (N, C, bands, 4)
    tn, fn, fp, tp = table.unbind(-1)
    return Counts(tp, fp, fn, tn, (tp + tn).sum(1), table.sum((1, 3)))


def _cells(regions: Regions, distances: tuple[int, ...]) -> NDArray[np.int64]:
    """Count the valid pixels of each band: ``(bands, 4)``, by truth and prediction as the bits of a number."""
    valid, bands = regions.valid, len(distances) + 1
    if not (regions.truth.any() or regions.predicted.any()):  # as most of many classes: no work for each pixel
        found = np.zeros((bands, 4), np.int64)
        found[-1, 0] = np.count_nonzero(valid)
        return found
    band = np.searchsorted(np.array(distances, np.float32), contour_distance(regions.truth)[valid])  # (pixels,)
    kind = 2 * regions.predicted[valid].astype(np.int64) + regions.truth[valid]  # 0 tn, 1 fn, 2 fp, 3 tp
    return np.bincount(4 * band + kind, minlength=4 * bands).reshape(bands, 4)


def contour_distance(region: Mask) -> NDArray[np.float32]:
    """Measure the distance of each pixel to the other side of a region's contour; infinite without a contour."""
    if not region.any() or region.all():
        return np.full(region.shape, np.inf, np.float32)
    # to the nearest zero of a map: 0 on one side, so that the sum is the distance on both
    sides = (np.ascontiguousarray(side).view(np.uint8) for side in (region, ~region))
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in sides)
    distance: NDArray[np.float32] = inside + outside
    return distance
