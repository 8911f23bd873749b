"""Confusion matrices of a batch on its device: one histogram over (image, true label, predicted label)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.task import Mode, Task, complete_task, lay_out_maps, stray_label

_FAR = 1024  # an ignore index beyond it is moved next to the labels, so that the histogram stays small
_CACHED = 2**18  # pixels that a CPU takes at once, so that intermediate results stay in its cache
_STRIPES = 4  # interleaved histograms: neighbours are mostly alike, and adding to one cell again and again stalls


def count(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
    ids: Sequence[str] | None = None,
) -> Counts:
    """Count the pixels of a batch, for each image and scored class, on the tensors' device: see `confusion`."""
    task = complete_task(task, mode, num_classes=num_classes)
    return Counts.from_confusion(confusion(prediction, target, task, ids=ids), task)


@torch.no_grad()
def confusion(
    prediction: Tensor,
    target: Tensor,
    task: Task | Mode | None = None,
    *,
    mode: Mode | None = None,
    num_classes: int | None = None,
    ids: Sequence[str] | None = None,
    checked: bool = False,
) -> Tensor:
    """Count how often each true label (rows) is predicted as each label (columns): int64 ``(N, groups, L, L)``.

    Both are label maps as `Task` describes them, or ``(N, 1, H, W)`` for a single map; predictions at
    ignored pixels do not matter. A group is one label map: an image has one, in a multilabel task one
    for each class, with labels 0 and 1. The name of a mode can stand for a task, together with
    ``num_classes`` where it is not binary.

    Waits for the device once a batch, to learn whether all labels were in range, and raises DataError
    with the first wrong value and its place if not; ``ids`` name the images. Labels that were
    ``checked`` before, by `require_labels`, cost no wait.
    """
    task = complete_task(task, mode, num_classes=num_classes)
    prediction, target = lay_out_maps(prediction, target, task)
    groups, pixels = target.shape[:-2].numel(), target.shape[-2:].numel()
    at_once = max(1, _CACHED // max(1, pixels) if target.is_cpu else groups)
    parts = zip(_maps_of(prediction, at_once), _maps_of(target, at_once), strict=True)
    found = [_tabulate(said, true, task) for said, true in parts]
    matrix, seen = (torch.cat(columns) for columns in zip(*found, strict=True))  # (maps, L, L), (maps,)
    if not checked and int(seen.sum()) != target.numel():
        raise stray_label(prediction, target, task, ids)
    return matrix.view(len(target), target.shape[1:-2].numel(), task.num_labels, task.num_labels)


def _maps_of(labels: Tensor, at_once: int) -> tuple[Tensor, ...]:
    """Split the label maps of a batch into blocks ``(K, H, W)`` of ``at_once`` maps."""
    return torch.split(labels.reshape(labels.shape[:-2].numel(), *labels.shape[-2:]), at_once)


def _tabulate(prediction: Tensor, target: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Count maps ``(K, H, W)``: confusion ``(K, L, L)``, and pixels that are in range or ignored, ``(K,)``.

    The histogram has a row for every value up to the ignore index, so that no pixel needs masking, and
    a margin for values out of range.
    """
    labels, ignored = task.num_labels, task.ignore_index  # rows: lowest..highest, columns: -1..labels
    if abs(ignored) > _FAR:
        target = target.long()
        target, ignored = target.clamp(-1, labels).masked_fill(target == ignored, -2), -2
    lowest, highest = min(0, ignored) - 1, max(labels - 1, ignored) + 1
    maps, rows, columns = len(target), highest - lowest + 1, labels + 2
    bins = maps * _STRIPES * rows * columns
    dtype = narrowest(bins)
    tables = torch.arange(maps * _STRIPES, device=target.device).view(maps, 1, _STRIPES)
    stripes = torch.arange(target.shape[-1], device=target.device) % _STRIPES  # (W,)
    # The cell of (true 0, predicted 0) in the table of each map and image column: (K, 1, W).
    first = (tables[..., stripes] * rows * columns - lowest * columns + 1).to(dtype)
    cells = _clamped(target, lowest, highest, dtype).mul_(columns).add_(first)
    cells += _clamped(prediction, -1, labels, dtype)
    table = count_values(cells.flatten(), bins).view(maps, _STRIPES, rows, columns).sum(1)  # stripes added up
    matrix = table[:, -lowest : labels - lowest, 1:-1]
    return matrix, matrix.sum((1, 2)) + table[:, ignored - lowest].sum(1)


def _clamped(labels: Tensor, lowest: int, highest: int, dtype: torch.dtype) -> Tensor:
    """Clamp integers of any type and copy them to a narrow one: memory bandwidth limits the counting."""
    # The clamp comes before the narrowing, which would wrap around; bytes fit any of the types.
    wide = labels.to(dtype) if labels.dtype.itemsize == 1 else labels.long()
    return wide.clamp(lowest, highest).to(dtype)


def narrowest(bins: int) -> torch.dtype:
    """Narrowest integer type for the values 0 to bins - 1: counting is as fast as memory is read."""
    return torch.int16 if bins < 2**15 else torch.int32 if bins < 2**31 else torch.int64


def count_values(values: Tensor, bins: int) -> Tensor:
    """Count each of the values 0 to bins - 1 of a vector of integers, without waiting for an accelerator.

    `torch.bincount` is the fastest on a CPU; on an accelerator it reads the extremes back first.
    """
    if values.is_cpu:
        return torch.bincount(values, minlength=bins)
    return scatter_sums(values, torch.ones_like(values), bins)


def sum_values(values: Tensor, amounts: Tensor, bins: int) -> Tensor:
    """Sum whole amounts for each of the values 0 to bins - 1: int64, exact while sums are below 2^53."""
    if values.is_cpu:
        return torch.bincount(values, amounts.double(), minlength=bins).long()
    return scatter_sums(values, amounts, bins)


def scatter_sums(values: Tensor, amounts: Tensor, bins: int) -> Tensor:
    """`sum_values` by atomic additions of integers, which are exact in any order, unlike those of floats."""
    sums = torch.zeros(bins, dtype=torch.int64, device=values.device)
    return sums.scatter_add_(0, values.long(), amounts.long())
