"""Masks of each class and image on the CPU, for boundary and surface metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.metrics.counting import confusion
from segtrain.task import Task, check_is_full, lay_out_maps

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Regions:
    """Masks ``(H, W)`` of one class in one image; ``truth`` and ``predicted`` hold no ignored pixel."""

    truth: Mask
    predicted: Mask
    valid: Mask


def class_regions(prediction: Tensor, target: Tensor, task: Task) -> Iterator[list[Regions]]:
    """Yield for each image the masks of its scored classes; label maps as for `confusion`."""
    prediction, target = lay_out_maps(prediction, target, task)
    check_is_full("prediction", prediction)
    confusion(prediction, target, task)  # for its check of the labels
    # Predicted as ignored too, so that no mask holds an ignored pixel.
    prediction = prediction.long().where(task.is_known(target), task.ignore_index)
    for number in range(len(target)):
        said, true = prediction[number, None], target[number, None]  # a batch of one: masks of one image at a time
        like = torch.empty(1, task.out_channels, *true.shape[-2:], dtype=torch.bool, device=true.device)
        valid = task.valid(true).expand_as(like)
        stacks = (maps[0].cpu().numpy() for maps in (task.one_hot(true, like), task.one_hot(said, like), valid))
        yield [Regions(*masks) for masks in zip(*stacks, strict=True)]


def inner_band(region: Mask, kernel: NDArray[np.uint8]) -> Mask:
    """Keep the pixels of a region from which the kernel reaches out of it, or out of the image.

    Ignored pixels are outside every region: an object with an ignored outline has its contour
    inside that.
    """
    # The border counts as outside; OpenCV's default would let regions go on beyond it.
    core = cv2.erode(region.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).view(np.bool_)
    return region & ~core
