"""Speed of the losses: forward and backward against segmentation_models_pytorch, or torch where it has none.

Both run in one process, turn by turn, so that a noisy machine is noisy for both; a figure is the median of the ratios
of neighbouring turns, theirs / ours: above 1 we are faster.

    python scripts/bench_losses.py --size 512 --batch 8 --classes 19
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from segtrain import losses
from segtrain.runtime.device import keep_freed_memory
from segtrain.task import Mode, Task, make_task

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """One loss of ours and its counterpart, which may want another target."""

    name: str
    mode: Mode
    ours: Callable[[Task], nn.Module]
    theirs: Loss
    prepare: Callable[[Tensor], Tensor] = lambda target: target


def pairs() -> list[Pair]:
    """List what is compared."""
    found = [Pair("dice", mode, losses.DiceLoss, smp.losses.DiceLoss(mode), _with_channel(mode)) for mode in _modes()]
    found += [
        Pair("jaccard", mode, losses.JaccardLoss, smp.losses.JaccardLoss(mode), _with_channel(mode))
        for mode in _modes()
    ]
    found += [
        Pair("tversky", mode, losses.TverskyLoss, smp.losses.TverskyLoss(mode, alpha=0.3, beta=0.7))
        for mode in _modes()
    ]
    found += [Pair("lovasz", mode, losses.LovaszLoss, smp.losses.LovaszLoss(mode)) for mode in _modes()]
    found += [Pair("focal", mode, losses.FocalLoss, smp.losses.FocalLoss(mode)) for mode in _modes()]
    bce = smp.losses.SoftBCEWithLogitsLoss()
    for name, kind in (("bce", losses.BCELoss), ("cross_entropy", losses.CrossEntropyLoss)):
        found.append(Pair(name, "binary", kind, bce, lambda target: target.unsqueeze(1).float()))
        found.append(Pair(name, "multilabel", kind, bce, Tensor.float))
    soft = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.0)
    found.append(Pair("cross_entropy", "multiclass", losses.CrossEntropyLoss, soft))
    found.append(Pair("cross_entropy (torch)", "multiclass", losses.CrossEntropyLoss, nn.CrossEntropyLoss()))
    mcc = smp.losses.MCCLoss()
    found.append(Pair("mcc", "binary", losses.MCCLoss, lambda logits, target: mcc(logits.sigmoid(), target)))
    return found


def _modes() -> tuple[Mode, ...]:
    return ("binary", "multiclass", "multilabel")


def _with_channel(mode: Mode) -> Callable[[Tensor], Tensor]:
    return (lambda target: target.unsqueeze(1)) if mode == "binary" else (lambda target: target)


def turn(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    loss(logits, target).backward()  # type: ignore[no-untyped-call]
    if logits.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(pair: Pair, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return our median seconds and the median ratio of neighbouring turns."""
    task = make_task(pair.mode, ["cat"] if pair.mode == "binary" else [str(i) for i in range(arguments.classes)])
    shape = (arguments.batch, task.out_channels, arguments.size, arguments.size)
    logits = torch.randn(shape, device=arguments.device)
    if arguments.channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    logits.requires_grad_()
    target_shape = shape if pair.mode == "multilabel" else (shape[0], *shape[2:])
    target = torch.randint(0, task.num_labels, target_shape, device=arguments.device)
    ours, theirs = pair.ours(task).to(arguments.device), pair.prepare(target)
    times = [(turn(ours, logits, target), turn(pair.theirs, logits, theirs)) for _ in range(arguments.turns + 1)][1:]
    return statistics.median(mine for mine, _ in times), statistics.median(other / mine for mine, other in times)


def main(words: Sequence[str] | None = None) -> None:
    """Print a line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--only", default="", help="part of a loss's name")
    arguments = parser.parse_args(words)
    keep_freed_memory()  # as in training
    print(f"{'loss':22} {'mode':11} {'ours, ms':>9} {'theirs / ours':>14}")
    for pair in pairs():
        if arguments.only in pair.name:
            seconds, ratio = compare(pair, arguments)
            print(f"{pair.name:22} {pair.mode:11} {seconds * 1000:9.1f} {ratio:14.2f}")


if __name__ == "__main__":
    main()
