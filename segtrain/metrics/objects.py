"""IoU of single objects, the connected parts of a class, to be read by their size."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.metrics.regions import Mask, class_regions
from segtrain.task import Mode, Task, complete_task

SIDES = (16, 32, 96, 256)
"""Objects are grouped by area: below 16², 32², 96² and 256² pixels, and above."""


@dataclass(frozen=True, eq=False)
class Objects:
    """True objects, ``(M,)`` each: int64 number of the image and of the class, and area; float64 IoU."""

    image: Tensor
    class_number: Tensor
    area: Tensor
    iou: Tensor

    @classmethod
    def cat(cls, parts: Sequence["Objects"]) -> "Objects":
        """Concatenate the objects of several batches, whose images are numbered on."""
        columns = ("image", "class_number", "area", "iou")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in columns))

    def sizes(self, sides: Sequence[int] = SIDES) -> Tensor:
        """Return the group of each object by its area: int64 ``(M,)``, 0 below ``sides[0]`` squared, and so on."""
        return torch.bucketize(self.area, torch.tensor([side**2 for side in sides]), right=True)


def object_ious(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
) -> Objects:
    """Measure every true object of a few images, on the CPU.

    An object is a part of a class in the truth that is connected by sides or corners (8 neighbours). Its IoU is the
    component-wise one of Chan et al. (SegmentMeIfYouCan, 2021, component-level metrics): with the union of all
    predicted parts of the class that share a pixel with it, pixels of other true objects left out, so that one
    prediction over two objects costs neither for the other. An object that nothing touches has 0. Predictions where
    there is no object count against none. Ignored pixels belong to no object and no prediction.
    """
    task = complete_task(task, mode, num_classes=num_classes)
    rows: list[NDArray[np.float64]] = []
    for image, classes in enumerate(class_regions(prediction, target, task)):
        for number, regions in enumerate(classes):
            areas, ious = _of_region(regions.truth, regions.predicted)
            places = np.broadcast_to([image, number], (len(areas), 2))
            rows.append(np.column_stack([places, areas, ious]))
    table = torch.from_numpy(np.concatenate(rows))  # (M, 4); pixels are exact in float64
    image_column, class_column, area, iou = table.unbind(1)
    return Objects(image_column.long(), class_column.long(), area.long(), iou.clone())


def _of_region(truth: Mask, predicted: Mask) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return area and IoU of each part of the truth, both ``(objects,)``."""
    if not truth.any():
        return np.zeros(0, np.int64), np.zeros(0)
    objects, object_of = _parts(truth)
    guesses, guess_of = _parts(predicted)
    areas, guessed = (
        np.bincount(object_of[truth], minlength=objects),
        np.bincount(guess_of[predicted], minlength=guesses),
    )
    both = truth & predicted
    # only pairs that meet: a table of all of them would be large where masks are noisy
    pairs, shared = np.unique(object_of[both] * np.int64(guesses) + guess_of[both], return_counts=True)
    thing, guess = pairs // max(guesses, 1), pairs % max(guesses, 1)
    covered = np.bincount(guess, weights=shared, minlength=guesses)  # pixels of a guess on any object
    intersection = np.bincount(thing, weights=shared, minlength=objects)
    # of a guess count what is on this object and what is on none
    beside = np.bincount(thing, weights=(guessed - covered)[guess], minlength=objects)
    return areas.astype(np.int64), intersection / (areas + beside)


def _parts(mask: Mask) -> tuple[int, NDArray[np.int64]]:
    """Number the connected parts of a mask from 0 on; returns how many, and a map, -1 outside."""
    count, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    return count - 1, labels.astype(np.int64) - 1
