"""Evaluation of a model over a split: counts are accumulated batch by batch, logits are not kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segtrain.data.sample import Batch
from segtrain.evaluation.reports import Report
from segtrain.inference.network import Network
from segtrain.metrics import Absent, Counts, confusion, require_labels, scores
from segtrain.models.layers import resize
from segtrain.runtime.device import Runtime
from segtrain.task import Task


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


def evaluate(
    network: Network,
    batches: Iterable[Batch],
    *,
    task: Task,
    loss: nn.Module | None = None,
    absent: Absent = "exclude",
    measure: Callable[[Tensor, Tensor, Tensor], None] = lambda _logits, _prediction, _target: None,
    on_batch: Callable[[int], None] = lambda _images: None,
) -> Evaluation:
    """Run a network over every batch, in evaluation mode, and score its predictions.

    Images with a ``truth`` are scored at its size, others at the input size; ``at`` in the scores says
    which. ``measure`` is called with logits, predicted labels and target of everything that is
    scored, a few images of one size at a time. The loss is a mean over batches, weighted by their
    valid pixels. Where model and batches have labels of whole images, the scores hold their
    ``label_accuracy``. ``on_batch`` is called with the number of images after each batch; it may
    raise to stop.
    """
    runtime = network.runtime
    # what is gathered stays on the device until the end: copying it would wait for every batch
    counts: list[Counts] = []
    matrix = torch.zeros((), dtype=torch.int64, device=runtime.device)
    ids, sizes, losses, pixels, per_batch, hits = [], [], [], [], [], []
    with network.evaluating():
        for batch in batches:
            check_labels(batch, task)
            fed, labels = runtime.masks(batch["mask"]), runtime.labels(batch.get("label"))
            outputs = network(batch["image"])
            for logits, target in at_truth(outputs.logits, fed, batch, runtime):
                prediction = task.predict(logits)
                table = confusion(prediction, target, task, checked=True)  # (N, groups, L, L)
                counts.append(Counts.from_confusion(table, task))
                matrix = matrix + table.sum(0)  # summed, as L x L of each image would be much memory
                measure(logits, prediction, target)
                sizes += [(target.shape[-2], target.shape[-1])] * len(target)
            ids += batch["id"]
            if outputs.labels is not None and labels is not None:
                hits.append(outputs.labels.argmax(1) == labels)
            if loss is not None:
                losses.append(loss(outputs.logits, fed))
                pixels.append(task.valid(fed).count_nonzero())
                per_batch.append(len(fed))
            on_batch(len(fed))
    total = Counts.cat(counts).cpu()
    weights = torch.stack(pixels) if losses else torch.zeros(0)
    mean_loss = float((torch.stack(losses) * weights).sum() / weights.sum().clamp(min=1)) if losses else None
    at = "original" if "truth" in batch else "input"  # the last batch stands for all: a dataset gives one kind
    found = {"at": at, **scores(total, task.class_names, absent=absent), **label_scores(hits)}
    unsound = _unsound(losses, per_batch, ids)
    return Evaluation(total, matrix.cpu(), tuple(ids), tuple(sizes), mean_loss, found, unsound)


def _unsound(losses: Sequence[Tensor], per_batch: Sequence[int], ids: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of the images in batches whose loss is not finite; ``per_batch`` counts their images."""
    if not losses:
        return ()
    repeats = torch.tensor(per_batch, device=losses[0].device)
    is_bad = ~torch.stack(list(losses)).isfinite().repeat_interleave(repeats)  # (images,)
    return tuple(name for name, bad in zip(ids, is_bad.tolist(), strict=True) if bad)


def check_labels(batch: Batch, task: Task) -> None:
    """Raise `DataError` where a mask holds a value that is no label; on the CPU, to avoid a device sync."""
    if "truth" not in batch:
        require_labels(batch["mask"], task, ids=batch["id"])
        return
    for truth, name in zip(batch["truth"], batch["id"], strict=True):
        require_labels(truth[None], task, ids=[name])


def at_truth(logits: Tensor, fed: Tensor, batch: Batch, runtime: Runtime) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits with the target that they are compared with.

    That is the whole batch with the fitted masks ``fed``; or, where the batch has original masks, each
    image alone, its logits without padding and resized to the size of its mask.
    """
    if "truth" not in batch:
        yield logits, fed
        return
    for own, (height, width), truth in zip(logits, batch["content"], batch["truth"], strict=True):
        content = own[None, :, :height, :width].float()  # (1, C, h, w): padding is below and to the right
        yield resize(content, truth.shape[-2:], mode="bilinear"), runtime.masks(truth[None])


def label_scores(hits: Sequence[Tensor]) -> dict[str, float]:
    """Return the accuracy of labels of whole images, an empty dict where there are none."""
    if not hits:
        return {}
    right = torch.cat(list(hits))
    return {"label_accuracy": int(right.count_nonzero()) / len(right)}
