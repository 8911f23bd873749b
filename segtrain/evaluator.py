"""Score a model over a split: counts are streamed, logits are never kept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from segtrain.data.sample import Batch
from segtrain.metrics import Counts, count, scores
from segtrain.models import Segmenter
from segtrain.runtime import Runtime
from segtrain.task import Task


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a split gives; images keep the order of the loader."""

    counts: Counts
    ids: tuple[str, ...]
    loss: float | None
    scores: dict[str, Any]


@torch.inference_mode()
def evaluate(
    model: Segmenter,
    batches: Iterable[Batch],
    *,
    task: Task,
    runtime: Runtime,
    loss: nn.Module | None = None,
    on_batch: Callable[[int], None] = lambda _images: None,
) -> Evaluation:
    """Run the model over every batch in evaluation mode and put it back into the mode it was in.

    The loss is averaged over batches by their valid pixels. ``on_batch`` is told the number of images after each batch;
    it may raise to stop.
    """
    was_training = model.training
    model.eval()
    counts, ids, losses, pixels = [], [], [], []
    for batch in batches:
        target = runtime.masks(batch["mask"])
        with runtime.autocast():
            logits = model(model.normalize(runtime.images(batch["image"])))
        counts.append(count(task.predict(logits), target, task))
        ids += batch["id"]
        if loss is not None:
            losses.append(loss(logits, target))
            pixels.append(task.valid(target).count_nonzero())
        on_batch(len(target))
    model.train(was_training)
    total = Counts.cat(counts).cpu()
    weights = torch.stack(pixels) if losses else torch.zeros(0)
    mean_loss = float((torch.stack(losses) * weights).sum() / weights.sum().clamp(min=1)) if losses else None
    return Evaluation(total, tuple(ids), mean_loss, scores(total, task.class_names))
