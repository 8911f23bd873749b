"""Score a model over a split: counts are streamed, logits are never kept."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segtrain.data.sample import Batch
from segtrain.metrics import Counts, count, scores
from segtrain.models import Outputs, Segmenter
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

    The loss is averaged over batches by their valid pixels. Where model and batches have labels of whole images, the
    scores hold their ``label_accuracy``. ``on_batch`` is told the number of images after each batch; it may raise to
    stop.
    """
    was_training = model.training
    model.eval()
    counts, ids, losses, pixels, hits = [], [], [], [], []
    for batch in batches:
        target, labels = runtime.masks(batch["mask"]), runtime.labels(batch.get("label"))
        with runtime.autocast():
            outputs = Outputs.of(model(model.normalize(runtime.images(batch["image"]))))
        counts.append(count(task.predict(outputs.logits), target, task))
        ids += batch["id"]
        if outputs.labels is not None and labels is not None:
            hits.append(outputs.labels.argmax(1) == labels)
        if loss is not None:
            losses.append(loss(outputs.logits, target))
            pixels.append(task.valid(target).count_nonzero())
        on_batch(len(target))
    model.train(was_training)
    total = Counts.cat(counts).cpu()
    weights = torch.stack(pixels) if losses else torch.zeros(0)
    mean_loss = float((torch.stack(losses) * weights).sum() / weights.sum().clamp(min=1)) if losses else None
    return Evaluation(total, tuple(ids), mean_loss, {**scores(total, task.class_names), **label_scores(hits)})


def label_scores(hits: Sequence[Tensor]) -> dict[str, float]:
    """Return the share of images whose label was predicted right; nothing where none has a label."""
    if not hits:
        return {}
    right = torch.cat(list(hits))
    return {"label_accuracy": int(right.count_nonzero()) / len(right)}
