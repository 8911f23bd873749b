"""Speed of counting: label maps to true and false positives and negatives, against segmentation_models_pytorch.

Both run in one process, turn by turn, so that a noisy machine is noisy for both; a figure is the median of the ratios
of neighbouring turns, theirs / ours: above 1 we are faster. Theirs has an ignore index in multiclass tasks alone.

    python scripts/bench_metrics.py --size 512 --batch 8 --classes 19
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from segtrain.metrics import count
from segtrain.task import IGNORE_INDEX, Mode, Task, make_task

MODES: tuple[Mode, ...] = ("binary", "multiclass", "multilabel")


def maps(task: Task, arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Draw a target of blocks, some pixels of it ignored, and a prediction that is right at four fifths of the rest."""
    channels = (arguments.classes,) if task.mode == "multilabel" else ()
    coarse = torch.randint(0, task.num_labels, (arguments.batch, *channels, arguments.size // 16, arguments.size // 16))
    target = coarse.repeat_interleave(16, -1).repeat_interleave(16, -2)
    other = torch.randint_like(target, 0, task.num_labels)
    prediction = torch.where(torch.rand(target.shape) < 0.2, other, target)
    if task.mode == "multiclass":
        target = target.masked_fill(torch.rand(target.shape) < 0.05, IGNORE_INDEX)
    return prediction.to(arguments.device), target.to(arguments.device)


def theirs(prediction: Tensor, target: Tensor, task: Task) -> object:
    """Count with SMP, whose binary maps have a channel."""
    if task.mode == "multiclass":
        options = {"num_classes": task.num_labels, "ignore_index": IGNORE_INDEX}
        return smp.metrics.get_stats(prediction, target, mode="multiclass", **options)
    if task.mode == "binary":
        prediction, target = prediction.unsqueeze(1), target.unsqueeze(1)
    return smp.metrics.get_stats(prediction, target, mode=task.mode)


def turn(counting: Callable[[Tensor, Tensor, Task], object], prediction: Tensor, target: Tensor, task: Task) -> float:
    """Return the seconds of counting one batch."""
    start = time.perf_counter()
    counting(prediction, target, task)
    if target.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each mode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(words)
    print(f"{'mode':11} {'ours, ms':>9} {'SMP, ms':>9} {'SMP / ours':>11}")
    for mode in MODES:
        task = make_task(mode, ["cat"] if mode == "binary" else [str(i) for i in range(arguments.classes)])
        batch = *maps(task, arguments), task
        times = [(turn(count, *batch), turn(theirs, *batch)) for _ in range(arguments.turns + 1)][1:]
        mine, other = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        ratio = statistics.median(other / mine for mine, other in times)
        print(f"{mode:11} {mine:9.1f} {other:9.1f} {ratio:11.2f}")


if __name__ == "__main__":
    main()
