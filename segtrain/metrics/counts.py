"""True and false positives and negatives in pixels, from which all scores are computed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from segtrain.task import Task


@dataclass(frozen=True, eq=False)
class Counts:
    """True and false positives and negatives in pixels, int64; ``(N, C)``, or ``(C,)`` once summed over images.

    ``correct`` and ``decided``, ``(N,)`` or ``()``, count the labels that were predicted right, and all
    that were predicted where the truth is known: one per pixel, in a multilabel task one per pixel and
    class.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    correct: Tensor
    decided: Tensor

    @classmethod
    def from_confusion(cls, matrix: Tensor, task: Task) -> "Counts":
        """Count each scored class one-vs-rest: `confusion`'s ``(..., groups, L, L)`` becomes ``(..., C)``."""
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)  # (..., groups, L)
        decided = matrix.sum((-2, -1))  # (..., groups)
        tp, truth, predicted = (
            labels[..., task.first_scored :].flatten(-2) for labels in (diagonal, matrix.sum(-1), matrix.sum(-2))
        )
        # All pixels of the group that a class belongs to: groups * scored labels = C.
        every = decided.repeat_interleave(tp.shape[-1] // decided.shape[-1], -1)
        tn = every - truth - predicted + tp
        return cls(tp, predicted - tp, truth - tp, tn, diagonal.sum((-2, -1)), decided.sum(-1))

    @classmethod
    def cat(cls, parts: Iterable["Counts"]) -> "Counts":
        """Concatenate the counts of several batches along the images."""
        return cls(*(torch.cat(columns) for columns in zip(*(part.tensors() for part in parts), strict=True)))

    def split(self, sizes: Sequence[int]) -> list["Counts"]:
        """Undo `cat`: part the images into runs of these lengths."""
        columns = (torch.split(tensor, list(sizes)) for tensor in self.tensors())
        return [Counts(*parts) for parts in zip(*columns, strict=True)]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self.tensors(), other.tensors(), strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        """List the six tensors in the order of the constructor."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Counts":
        """Apply a function to each of the six tensors: ``counts.total().map(all_reduce_sum)`` adds up ranks."""
        return Counts(*map(change, self.tensors()))

    def total(self) -> "Counts":
        """Sum over the images: ``(N, C)`` becomes ``(C,)``."""
        return self.map(lambda tensor: tensor.sum(0))

    def over_classes(self) -> "Counts":
        """Sum over the classes, which stay as an axis of length 1."""
        tp, fp, fn, tn = (tensor.sum(-1, keepdim=True) for tensor in (self.tp, self.fp, self.fn, self.tn))
        return Counts(tp, fp, fn, tn, self.correct, self.decided)

    def of_rest(self) -> "Counts":
        """Swap positive and negative: the counts of the rest against each class."""
        return Counts(self.tn, self.fn, self.fp, self.tp, self.correct, self.decided)

    def pixels(self) -> Tensor:
        """Count the pixels at which each class is decided: all except the ignored ones."""
        return self.tp + self.fp + self.fn + self.tn

    def support(self) -> Tensor:
        """Count the pixels of each class in the truth."""
        return self.tp + self.fn

    def to(self, device: torch.device | str) -> "Counts":
        """Move to that device."""
        return self.map(lambda tensor: tensor.to(device))

    def cpu(self) -> "Counts":
        """Move to the CPU."""
        return self.to("cpu")
