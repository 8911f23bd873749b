"""Surface distances between the contours of truth and prediction: Hausdorff and average."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt  # OpenCV knows no spacing
from torch import Tensor

from segtrain.metrics.regions import Mask, Regions, class_regions, inner_band
from segtrain.task import Mode, Task, complete_task

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Float64 ``(N, C)`` in units of the spacing, NaN where truth and prediction lack the class.

    Averaged over images by ``nanmean(0)``.
    """

    hausdorff: Tensor
    average: Tensor

    @classmethod
    def cat(cls, parts: Sequence["SurfaceDistances"]) -> "SurfaceDistances":
        """Concatenate the distances of several batches along the images."""
        return cls(torch.cat([part.hausdorff for part in parts]), torch.cat([part.average for part in parts]))

    def map(self, change: Callable[[Tensor], Tensor]) -> "SurfaceDistances":
        """Apply a function to both tensors."""
        return SurfaceDistances(change(self.hausdorff), change(self.average))


def surface_distances(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
    percentile: float = 95.0,
) -> SurfaceDistances:
    """Measure each image and class, on the CPU; ``spacing`` is the height and width of a pixel, say in mm.

    The contour is every pixel of a region with a neighbour above, below, left or right outside of
    it, outside the image, or ignored.

    - ``hausdorff``: the 95th percentile of the distances from one contour to the other, the larger
      of both directions (Huttenlocher et al. 1993, section on partial distances); with percentile
      100 the Hausdorff distance
    - ``average``: the mean of the distances from both contours, the average symmetric surface
      distance (Heimann et al. 2009)

    A class that truth and prediction both lack has no distance, NaN. Where only one of them lacks
    it, both distances are the image's diagonal: finite, so that means stay finite, and no less than
    any distance that could have been measured. Raises ValueError for a spacing or a percentile that
    cannot be.
    """
    if len(spacing) != 2 or not all(side > 0 for side in spacing) or not 0 <= percentile <= 100:
        raise ValueError(
            f"spacing is {spacing}, percentile {percentile}, expected the height and width of a pixel, above 0, and "
            "a percentile from 0 to 100"
        )
    task = complete_task(task, mode, num_classes=num_classes)
    rows = [
        [_distances(regions, spacing, percentile) for regions in image]
        for image in class_regions(prediction, target, task)
    ]
    table = torch.tensor(rows, dtype=torch.float64).view(len(target), len(task.class_names), 2)  # (N, C, 2)
    return SurfaceDistances(*table.unbind(-1))


def _distances(regions: Regions, spacing: tuple[float, float], percentile: float) -> tuple[float, float]:
    truth = inner_band(regions.truth, _CROSS)
    predicted = inner_band(regions.predicted, _CROSS)
    if not (truth.any() and predicted.any()):
        one_sided = truth.any() or predicted.any()
        diagonal = math.hypot(*np.multiply(truth.shape, spacing))
        return (diagonal, diagonal) if one_sided else (math.nan, math.nan)
    # Both contours lie in their bounding box, so distances within it are the same, and cost less.
    window = _bounding_box(truth | predicted)
    truth, predicted = truth[window], predicted[window]
    there, back = _to_nearest(predicted, truth, spacing), _to_nearest(truth, predicted, spacing)
    hausdorff = max(np.percentile(there, percentile), np.percentile(back, percentile))
    return float(hausdorff), float(np.concatenate([there, back]).mean())


def _to_nearest(start: Mask, goal: Mask, spacing: tuple[float, float]) -> NDArray[np.float64]:
    """Distance from each pixel of one contour to the nearest of the other: ``(pixels,)``."""
    distances: NDArray[np.float64] = distance_transform_edt(~goal, sampling=spacing)[start]
    return distances


def _bounding_box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
