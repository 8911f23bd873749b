"""How closely what was exported answers as the checkpoint does: the gate that an exported file has to pass."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from segtrain.evaluation.reports import Report
from segtrain.inference.exportable import Gives
from segtrain.metrics import Counts, confusion, scores
from segtrain.models import Outputs
from segtrain.task import Task

Answering: TypeAlias = Callable[[Tensor], Outputs]
"""Takes stored pixels ``(N, C, H, W)``, returns what a file gives for them in place of logits."""
_LEAST = 1e-12  # probabilities below it have no finite logit


class Shown(NamedTuple):
    """Images as they are shown to a file, with the checkpoint's outputs for them, both of one size.

    ``target`` are their masks, in the layout of the task; None where there are none. ``exactly`` tells whether the
    file computes the same from the same pixels; where it resizes images itself, a pixel may be rounded otherwise.
    """

    pixels: Tensor
    outputs: Outputs
    target: Tensor | None
    ids: Sequence[str]
    exactly: bool = True


_RESIZED = 10
"""Times as many pixels may have another label where a file resizes: it rounds one value in 400 otherwise."""


@dataclass
class Same:
    """Pixels that were compared, and those of them with equal labels."""

    alike: int = 0
    pixels: int = 0

    @property
    def share(self) -> float:
        """The share with equal labels; 1 of none."""
        return self.alike / self.pixels if self.pixels else 1.0


@dataclass
class Fidelity:
    """Differences between a file and its checkpoint, over all images shown.

    ``difference`` is the largest of a logit or probability, ``largest`` the largest of the checkpoint's own, both of
    images shown ``exactly``; ``exact`` counts the pixels of those, ``resized`` those of images that the file resizes.
    ``counts`` are those of the checkpoint and of the file, by image, of all with masks; ``ids`` names them.
    """

    task: Task
    gives: Gives = "logits"
    images: int = 0
    difference: float = 0.0
    largest: float = 0.0
    exact: Same = field(default_factory=Same)
    resized: Same = field(default_factory=Same)
    ids: list[str] = field(default_factory=list)
    _tables: tuple[list[Tensor], list[Tensor]] = field(default_factory=lambda: ([], []))

    def note(self, answer: Tensor, wanted: Tensor) -> None:
        """Keep the largest difference of an answer from what the checkpoint says; one that is no number stays."""
        difference = float((answer - wanted).abs().max())
        if not difference <= self.difference:
            self.difference = difference
        self.largest = max(self.largest, float(wanted.abs().max()))

    @property
    def counts(self) -> tuple[Counts, Counts] | None:
        """Counts of the checkpoint and of the file, ``(N, C)``; None where no image has a mask."""
        if not self.ids:
            return None
        ours, theirs = (Counts.from_confusion(torch.cat(tables), self.task) for tables in self._tables)
        return ours, theirs

    def ious(self) -> tuple[float, float] | None:
        """Return the IoU of the checkpoint and of the file; None where there are no masks or no classes to score."""
        if self.counts is None:
            return None
        ours, theirs = (scores(counts, self.task.class_names)["iou"] for counts in self.counts)
        return None if ours is None or theirs is None else (ours, theirs)

    def reports(self) -> tuple[Report, Report] | None:
        """Return both as reports, which `segtrain.evaluation.differences` compares."""
        if self.counts is None:
            return None
        of = [
            Report(
                self.task.mode,
                self.task.class_names,
                tuple(self.ids),
                counts,
                scores(counts, self.task.class_names),
                {},
            )
            for counts in self.counts
        ]
        return of[0], of[1]

    def problem(self, *, tolerance: float, iou_tolerance: float) -> str | None:
        """Describe what differs by more than is allowed; None where nothing does.

        ``tolerance`` is a share of the largest logit, or of 1 where all are smaller. Labels may differ, and the IoU, by
        ``iou_tolerance``.
        """
        allowed = tolerance * max(1.0, self.largest)
        if not self.difference <= allowed:  # NaN is refused too
            differ = f"{self.gives} differ by up to {self.difference:.2g}"
            return f"{differ}, allowed are {allowed:.2g} (tolerance={tolerance:g})"
        for same, times, which in ((self.exact, 1, ""), (self.resized, _RESIZED, "resized ")):
            if 1 - same.share > times * iou_tolerance:
                return (
                    f"{1 - same.share:.2%} of the {which}pixels have another label, allowed are "
                    f"{times * iou_tolerance:.2%} (iou_tolerance={iou_tolerance:g})"
                )
        ious = self.ious()
        if ious is not None and abs(ious[1] - ious[0]) > iou_tolerance:
            return f"the IoU is {ious[1]:.4f}, that of the checkpoint {ious[0]:.4f} (iou_tolerance={iou_tolerance:g})"
        return None


@torch.inference_mode()
def compare(
    answering: Answering, shown: Iterable[Shown], task: Task, *, gives: Gives = "logits", temperature: float = 1.0
) -> Fidelity:
    """Show images to a file, and compare its answers with the checkpoint's."""
    found = Fidelity(task, gives)
    for pixels, wanted, target, ids, exactly in shown:
        answer = answering(pixels)
        found.images += len(pixels)
        if exactly and gives != "labels":
            is_raw = gives == "logits"
            maps = wanted.logits if is_raw else task.activation(wanted.logits / temperature)
            found.note(answer.logits, maps)
            if wanted.labels is not None and answer.labels is not None:
                found.note(answer.labels, wanted.labels if is_raw else wanted.labels.softmax(1))
        ours, theirs = task.predict(wanted.logits), _labels(answer.logits, task, gives, temperature)
        same = found.exact if exactly else found.resized
        same.alike += int((ours == theirs).count_nonzero())
        same.pixels += ours.numel()
        if target is not None:
            found.ids += ids
            for table, labels in zip(found._tables, (ours, theirs), strict=True):
                table.append(confusion(labels, target, task))
    return found


def _labels(answer: Tensor, task: Task, gives: Gives, temperature: float) -> Tensor:
    """Decide labels by a file's answer as its reader would: int64, in the layout of a target."""
    if gives == "labels":
        return answer.long()
    if gives == "logits":
        return task.predict(answer)
    inverse = answer.clamp(min=_LEAST).log() if task.mode == "multiclass" else torch.logit(answer, eps=_LEAST)
    return task.predict(temperature * inverse)
