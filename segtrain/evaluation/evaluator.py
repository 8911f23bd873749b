"""Evaluation of a model over a split: counts are accumulated batch by batch, logits are not kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segtrain.data.sample import Batch
from segtrain.evaluation.answers import Answer, Answering
from segtrain.evaluation.ranks import in_turns
from segtrain.evaluation.reports import Report
from segtrain.inference.network import Network
from segtrain.metrics import Absent, Counts, confusion, require_labels, scores
from segtrain.models.layers import resize
from segtrain.runtime.device import Runtime
from segtrain.runtime.world import ALONE, World
from segtrain.task import Task

Measure: TypeAlias = Callable[[Tensor, Tensor, Tensor, Sequence[str]], None]
"""Takes logits, predicted labels, target and ids of a few images of one size."""


@dataclass(frozen=True)
class Evaluation:
    """The result of one pass over a split; images are in the order of the loader.

    ``counts`` are ``(N, C)`` on the CPU. ``confusion`` is that of `metrics.confusion` summed over the
    images, ``(groups, L, L)``. ``sizes`` are the ``(H, W)`` that they were scored at. ``unsound`` are
    the ids of images in batches whose loss is not finite.
    """

    counts: Counts
    confusion: Tensor
    ids: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    loss: float | None
    scores: dict[str, Any]
    unsound: tuple[str, ...] = ()

    def report(self, task: Task, **about: Any) -> Report:
        """Return it as a report; ``about`` says where it came from."""
        about = {"at": self.scores["at"], **about}
        return Report(task.mode, task.class_names, self.ids, self.counts, self.scores, about)


@dataclass(frozen=True)
class _OfBatch:
    """What one batch adds: ids, sizes and counts of its images, hits ``(N,)`` of whole-image labels, its loss.

    ``pixels`` are those that the loss is a mean over.
    """

    ids: list[str]
    sizes: list[tuple[int, int]]
    counts: Counts
    at: str
    hits: Tensor | None = None
    loss: Tensor | None = None
    pixels: Tensor | None = None

    @classmethod
    def together(cls, parts: "Sequence[_OfBatch]") -> "_OfBatch":
        """Put the parts of a batch together; its loss is the mean of theirs, weighted by their pixels."""
        first = parts[0]
        if len(parts) == 1:
            return first
        loss = pixels = None
        if first.loss is not None:
            losses, weights = (torch.stack([getattr(part, name) for part in parts]) for name in ("loss", "pixels"))
            pixels = weights.sum()
            loss = (losses * weights).sum() / pixels.clamp(min=1)
        return cls(
            ids=[name for part in parts for name in part.ids],
            sizes=[size for part in parts for size in part.sizes],
            counts=Counts.cat(part.counts for part in parts),
            at=first.at,
            hits=None if first.hits is None else torch.cat([part.hits for part in parts if part.hits is not None]),
            loss=loss,
            pixels=pixels,
        )


def evaluate(
    network: Network,
    batches: Iterable[Batch],
    *,
    task: Task,
    loss: nn.Module | None = None,
    absent: Absent = "exclude",
    measure: Measure = lambda *_: None,
    on_batch: Callable[[int], None] = lambda _images: None,
    world: World = ALONE,
) -> Evaluation:
    """Run a network over every batch, in evaluation mode, and score its predictions.

    Images with a ``truth`` are scored at its size, others at the input size; ``at`` in the scores says
    which. ``measure`` is called with logits, predicted labels, target and ids of everything that is
    scored, a few images of one size at a time. The loss is a mean over batches, weighted by their
    valid pixels. Where model and batches have labels of whole images, the scores hold their
    ``label_accuracy``. ``on_batch`` is called with the number of images after each batch; it may
    raise to stop. The ranks of ``world`` have taken turns with the batches: the result is that of all,
    the same on each, and that of one process to the last bit.
    """
    runtime = network.runtime
    # what is gathered stays on the device until the end: copying it would wait for every batch
    matrix = torch.zeros((), dtype=torch.int64, device=runtime.device)
    own: list[_OfBatch] = []
    answers = Answering(network, loss)
    with network.evaluating():
        for batch in batches:
            check_labels(batch, task)
            parts: list[_OfBatch] = []
            for answer in answers(batch):
                found, table = _scored(answer, task, runtime, measure)
                matrix = matrix + table
                parts.append(found)
            own.append(_OfBatch.together(parts))
            on_batch(len(batch["id"]))
    return _summed(*_of_all(own, matrix, world), task, absent)


def _scored(answer: Answer, task: Task, runtime: Runtime, measure: Measure) -> tuple[_OfBatch, Tensor]:
    """Score the answer to a batch, or to a part of it; returns the sum of its confusion matrices too."""
    batch, outputs, fed, loss = answer
    tables: list[Tensor] = []
    sizes: list[tuple[int, int]] = []
    for logits, target, names in at_truth(outputs.logits, fed, batch, runtime):
        prediction = task.predict(logits)
        tables.append(confusion(prediction, target, task, checked=True))  # (N, groups, L, L)
        measure(logits, prediction, target, names)
        sizes += [(target.shape[-2], target.shape[-1])] * len(target)
    table, labels = torch.cat(tables), runtime.labels(batch.get("label"))
    hits = None if outputs.labels is None or labels is None else outputs.labels.argmax(1) == labels
    found = _OfBatch(
        ids=batch["id"],
        sizes=sizes,
        counts=Counts.from_confusion(table, task),
        at="original" if "truth" in batch else "input",
        hits=hits,
        loss=loss,
        pixels=None if loss is None else task.valid(fed).count_nonzero(),
    )
    return found, table.sum(0)


def _of_all(own: Sequence[_OfBatch], matrix: Tensor, world: World) -> tuple[list[_OfBatch], Tensor]:
    """Return the batches of all ranks in the order of one process, and the sum of their confusion matrices."""
    parts = world.gather((_on_cpu(own), matrix.cpu()))
    matrices = [matrix for batches, matrix in parts if batches]
    return in_turns([batches for batches, _ in parts]), torch.stack(matrices).sum(0)


def _on_cpu(own: Sequence[_OfBatch]) -> list[_OfBatch]:
    """Copy all tensors to the CPU, those of all batches at once, as each copy waits for the device."""
    if not own:
        return []
    sizes = [len(found.ids) for found in own]
    hits, losses, pixels = ([getattr(found, name) for found in own] for name in ("hits", "loss", "pixels"))
    columns = zip(
        own,
        Counts.cat(found.counts for found in own).cpu().split(sizes),
        hits if hits[0] is None else torch.split(torch.cat(hits).cpu(), sizes),
        losses if losses[0] is None else torch.stack(losses).cpu(),
        pixels if pixels[0] is None else torch.stack(pixels).cpu(),
        strict=True,
    )
    return [replace(found, counts=c, hits=h, loss=loss, pixels=p) for found, c, h, loss, p in columns]


def _summed(batches: Sequence[_OfBatch], matrix: Tensor, task: Task, absent: Absent) -> Evaluation:
    """Sum what the batches of a split add to its scores."""
    total = Counts.cat(found.counts for found in batches)
    losses = [(found.loss, found.pixels) for found in batches if found.loss is not None and found.pixels is not None]
    mean_loss, unsound = None, tuple[str, ...]()
    if losses:
        values, weights = (torch.stack(column) for column in zip(*losses, strict=True))
        mean_loss = float((values * weights).sum() / weights.sum().clamp(min=1))
        unsound = _unsound(batches, values)
    # one batch stands for all: a dataset gives one kind
    hits = [found.hits for found in batches if found.hits is not None]
    scored = {"at": batches[0].at, **scores(total, task.class_names, absent=absent), **label_scores(hits)}
    return Evaluation(
        counts=total,
        confusion=matrix,
        ids=tuple(name for found in batches for name in found.ids),
        sizes=tuple(size for found in batches for size in found.sizes),
        loss=mean_loss,
        scores=scored,
        unsound=unsound,
    )


def _unsound(batches: Sequence[_OfBatch], losses: Tensor) -> tuple[str, ...]:
    """Return the ids of the images in batches whose loss is not finite."""
    is_bad = (~losses.isfinite()).tolist()
    return tuple(name for found, bad in zip(batches, is_bad, strict=True) if bad for name in found.ids)


def check_labels(batch: Batch, task: Task) -> None:
    """Raise `DataError` where a mask holds a value that is no label; on the CPU, to avoid a device sync."""
    if "truth" not in batch:
        require_labels(batch["mask"], task, ids=batch["id"])
        return
    for truth, name in zip(batch["truth"], batch["id"], strict=True):
        require_labels(truth[None], task, ids=[name])


def at_truth(
    logits: Tensor, fed: Tensor, batch: Batch, runtime: Runtime
) -> Iterator[tuple[Tensor, Tensor, Sequence[str]]]:
    """Yield logits with the target that they are compared with, and the ids of their images.

    That is the whole batch with the fitted masks ``fed``; or, where the batch has original masks, each
    image alone, its logits without padding and resized to the size of its mask.
    """
    if "truth" not in batch:
        yield logits, fed, batch["id"]
        return
    for own, (height, width), truth, name in zip(logits, batch["content"], batch["truth"], batch["id"], strict=True):
        content = own[None, :, :height, :width].float()  # (1, C, h, w): padding is below and to the right
        yield resize(content, truth.shape[-2:], mode="bilinear"), runtime.masks(truth[None]), [name]


def label_scores(hits: Sequence[Tensor]) -> dict[str, float]:
    """Return the accuracy of labels of whole images, an empty dict where there are none."""
    if not hits:
        return {}
    right = torch.cat(list(hits))
    return {"label_accuracy": int(right.count_nonzero()) / len(right)}
