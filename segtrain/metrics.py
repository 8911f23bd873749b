"""Scores from counted pixels: count each batch, add up or concatenate, score once at the end.

A class is *absent* where neither the truth nor the prediction holds a pixel of it. Its IoU, F1, precision and recall
are 0/0; they are NaN here, and every mean leaves NaN out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segtrain.task import Task


@dataclass(frozen=True, eq=False)
class Counts:
    """True and false positives and negatives in pixels, int64; ``(N, C)``, or ``(C,)`` once summed over images.

    ``correct`` and ``decided``, ``(N,)`` or ``()``, count the labels that were predicted right, and all that were
    predicted where the truth is known: one for a pixel, for a multilabel task one for a pixel and class.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    correct: Tensor
    decided: Tensor

    @classmethod
    def cat(cls, parts: Iterable["Counts"]) -> "Counts":
        """Join the counts of several batches along the images."""
        return cls(*(torch.cat(columns) for columns in zip(*(part.tensors() for part in parts), strict=True)))

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self.tensors(), other.tensors(), strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        """List the six tensors in the order of the constructor."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def total(self) -> "Counts":
        """Sum over the images: ``(N, C)`` becomes ``(C,)``."""
        return Counts(*(tensor.sum(0) for tensor in self.tensors()))

    def over_classes(self) -> "Counts":
        """Sum over the classes, which stay as an axis of length 1."""
        tp, fp, fn, tn = (tensor.sum(-1, keepdim=True) for tensor in (self.tp, self.fp, self.fn, self.tn))
        return Counts(tp, fp, fn, tn, self.correct, self.decided)

    def to(self, device: torch.device | str) -> "Counts":
        """Move to that device."""
        return Counts(*(tensor.to(device) for tensor in self.tensors()))

    def cpu(self) -> "Counts":
        """Move to the CPU."""
        return self.to("cpu")


Metric: TypeAlias = Callable[[Counts], Tensor]


@torch.no_grad()
def count(prediction: Tensor, target: Tensor, task: Task) -> Counts:
    """Count the pixels of a batch, for each image and scored class, on the tensors' device.

    Both are label maps as `Task` describes them; ``prediction`` holds no ignored pixels. Waits for the device a fixed
    number of times a batch. Raises ValueError where a label is neither one of the task's nor (target) ignored.
    """
    matrix = confusion(prediction, target, task)  # (N, groups, truth, prediction)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    decided = matrix.sum((-2, -1))
    tp, truth, predicted = (
        labels[..., task.first_scored :].flatten(1) for labels in (diagonal, matrix.sum(-1), matrix.sum(-2))
    )
    tn = decided.repeat_interleave(tp.shape[1] // decided.shape[1], 1) - truth - predicted + tp
    return Counts(tp, predicted - tp, truth - tp, tn, diagonal.sum((-2, -1)), decided.sum(1))


def confusion(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """Count how often each true label (rows) is predicted as each label (columns): int64 ``(N, groups, L, L)``.

    A group is a map of labels of its own: one for an image, for a multilabel task one for each class, with labels 0 and
    1. One `torch.bincount` over (group, true label, predicted label) counts it all. Every value up to the ignore index
    has a row at first, so that no pixel needs masking: what is ignored, and what is wrong, is read off the rows.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}")
    labels, ignored = task.num_labels, task.ignore_index
    lowest, highest = min(0, ignored), max(labels - 1, ignored)
    _check_ranges(prediction, (0, labels - 1), target, (lowest, highest), task)
    groups, rows = target.shape[:-2].numel(), highest - lowest + 1
    starts = torch.arange(groups, device=target.device) * rows - lowest
    index = target.reshape(groups, -1).long() + starts.unsqueeze(1)
    index = index.mul_(labels).add_(prediction.reshape(groups, -1))
    matrix = torch.bincount(index.view(-1), minlength=groups * rows * labels).view(groups, rows, labels)
    matrix[:, ignored - lowest] = 0
    if matrix.sum() != matrix[:, -lowest : labels - lowest].sum():
        raise _out_of_range("target", target, (0, labels - 1), ignored)
    return matrix[:, -lowest : labels - lowest].reshape(len(target), -1, labels, labels)


def _check_ranges(
    prediction: Tensor, predicted: tuple[int, int], target: Tensor, true: tuple[int, int], task: Task
) -> None:
    if target.numel() == 0:
        return
    extremes = torch.stack([*prediction.aminmax(), *target.aminmax()]).tolist()
    if extremes[0] < predicted[0] or extremes[1] > predicted[1]:
        raise _out_of_range("prediction", prediction, predicted, None)
    if extremes[2] < true[0] or extremes[3] > true[1]:
        raise _out_of_range("target", target, (0, task.num_labels - 1), task.ignore_index)


def _out_of_range(what: str, labels: Tensor, allowed: tuple[int, int], ignored: int | None) -> ValueError:
    """Find the first wrong label and name its value and place."""
    wrong = (labels < allowed[0]) | (labels > allowed[1])
    if ignored is not None:
        wrong &= labels != ignored
    place = tuple(wrong.nonzero()[0].tolist())
    also = "" if ignored is None else f" or {ignored} (ignored)"
    return ValueError(f"{what} holds {int(labels[place])} at {place}, expected {allowed[0]}..{allowed[1]}{also}")


def _ratio(part: Tensor, whole: Tensor, counts: Counts) -> Tensor:
    """Divide in float64; an absent class gives NaN, 0/0 of one that is there gives 0."""
    ratio = part.double() / whole.clamp_min(1).double()
    return ratio.masked_fill(counts.tp + counts.fp + counts.fn == 0, torch.nan)


def iou(counts: Counts) -> Tensor:
    """Intersection over union, tp / (tp + fp + fn)."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def f1(counts: Counts) -> Tensor:
    """F1, that is Dice: 2 tp / (2 tp + fp + fn)."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts)


def precision(counts: Counts) -> Tensor:
    """Precision, tp / (tp + fp); 0 for a class that the truth holds and nobody predicted."""
    return _ratio(counts.tp, counts.tp + counts.fp, counts)


def recall(counts: Counts) -> Tensor:
    """Recall, tp / (tp + fn); 0 for a class that was predicted and the truth does not hold."""
    return _ratio(counts.tp, counts.tp + counts.fn, counts)


def accuracy(counts: Counts) -> Tensor:
    """Share of pixels on which class and rest are told apart, (tp + tn) / all; NaN without pixels."""
    right = (counts.tp + counts.tn).double()
    return right / (right + counts.fp + counts.fn)


def pixel_accuracy(counts: Counts) -> Tensor:
    """Share of labels predicted right, correct / decided: over all classes together, without the class axis."""
    return counts.correct.double() / counts.decided


def macro(counts: Counts, metric: Metric) -> Tensor:
    """Score each class over all images, and take the mean over the classes that are not absent."""
    return metric(counts.total()).nanmean()


def micro(counts: Counts, metric: Metric) -> Tensor:
    """Sum the pixels over images and classes, and score once."""
    return metric(counts.total().over_classes()).squeeze(0)


def imagewise(counts: Counts, metric: Metric) -> Tensor:
    """Score each image as the mean over its own classes that are not absent, and take the mean over images.

    An image in which every class is absent (nothing to find, nothing found) is left out.
    """
    return metric(counts).nanmean(1).nanmean()


PER_CLASS: dict[str, Metric] = {"iou": iou, "f1": f1, "precision": precision, "recall": recall, "accuracy": accuracy}


def scores(counts: Counts, class_names: Sequence[str]) -> dict[str, Any]:
    """Turn the counts ``(N, C)`` of a data set into what a split's entry in ``scores.json`` holds.

    - ``iou``, ``f1``, ``precision``, ``recall``: `macro`, which for a binary task is the foreground's
    - ``iou_imagewise``, ``iou_micro``: `imagewise` and `micro`
    - ``accuracy``: `pixel_accuracy` over all images
    - ``absent``: names of the classes that the means leave out
    - ``per_class``: by name the five metrics of each class, and ``support``, its pixels in the truth

    Plain floats, integers and strings; None where there is nothing to score, so that strict JSON takes it.
    """
    counts = counts.cpu()
    total = counts.total()
    columns = {name: [_plain(value) for value in metric(total)] for name, metric in PER_CLASS.items()}
    columns["support"] = (total.tp + total.fn).tolist()
    return {
        "iou": _plain(macro(counts, iou)),
        "iou_imagewise": _plain(imagewise(counts, iou)),
        "iou_micro": _plain(micro(counts, iou)),
        "f1": _plain(macro(counts, f1)),
        "precision": _plain(macro(counts, precision)),
        "recall": _plain(macro(counts, recall)),
        "accuracy": _plain(pixel_accuracy(total)),
        "absent": [name for name, value in zip(class_names, columns["iou"], strict=True) if value is None],
        "per_class": {
            name: dict(zip(columns, row, strict=True))
            for name, row in zip(class_names, zip(*columns.values(), strict=True), strict=True)
        },
    }


def _plain(value: Tensor) -> float | None:
    return None if value.isnan() else float(value)
