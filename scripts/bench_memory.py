"""Memory of training: segtrain with and without activation checkpointing, and a plain loop around a peer's model.

Every contender trains some steps in a process of its own. Resident memory, as Linux counts it: `built` is what that
process holds before its first step, `rest` what it holds after a step of one image of 64x64, with the optimizer's state
and the libraries that a step loads, and `peak` the most it ever held. `activations` is counted, not measured: what the
model keeps for the backward pass, as ``segtrain plan`` has it.

    python scripts/bench_memory.py unet resnet34
"""

import argparse
import re
import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # each process imports what it trains with, and no more
    from segtrain.training.trainer import Trainer

MB = 1e6
SMALL = 64


def resident(field: str) -> float:
    """Return MB that this process holds (VmRSS), or held at most (VmHWM)."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / MB


def make_trainer(options: argparse.Namespace, *words: str) -> "Trainer":
    """Build the trainer of synthetic images."""
    from segtrain.build.training import build_trainer
    from segtrain.run.plan import make_plan
    from segtrain.runtime.device import keep_freed_memory

    sizes = (f"data.image_size={options.size}", f"data.size={options.size}", f"data.batch_size={options.batch_size}")
    few = (f"data.train={options.batch_size}", "data.val=2", "data.num_workers=0", f"trainer.max_steps={options.steps}")
    model = (f"arch={options.arch}", f"encoder={options.encoder}", "encoder.weights=null")
    plan = make_plan((*model, "data=shapes", *sizes, *few, "logger=none", *words, *options.words), None)
    keep_freed_memory(sparing=plan.job["trainer"]["activation_checkpointing"])
    folder = Path(tempfile.mkdtemp())
    (folder / "checkpoints").mkdir()
    return build_trainer(plan.job, folder)


def segtrain(options: argparse.Namespace, pipe: Connection, *words: str) -> None:
    """Train with segtrain."""
    trainer = make_trainer(options, *words)
    trainer.log.total_steps = trainer.total_steps
    built, small = resident("VmRSS"), next(iter(trainer.train.batches()))
    trainer.model.train()
    trainer.step([{**small, "image": small["image"][:1, :, :SMALL, :SMALL], "mask": small["mask"][:1, :SMALL, :SMALL]}])
    rest = resident("VmRSS")
    while not trainer.finished:
        trainer.train_epoch()
        trainer.end_epoch()
    pipe.send((built, rest, resident("VmHWM")))


def peer(options: argparse.Namespace, pipe: Connection) -> None:
    """Train segmentation_models_pytorch's model in fp32, as people write it by hand."""
    import segmentation_models_pytorch as smp

    model = smp.create_model(options.arch, options.encoder, encoder_weights=None, classes=1).train()
    loss_function, optimizer = smp.losses.DiceLoss("binary"), torch.optim.Adam(model.parameters(), 2e-4)
    shape = (options.batch_size, 3, options.size, options.size)
    image, mask = torch.rand(shape), torch.ones(shape)[:, :1]

    def step(image: torch.Tensor, mask: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss_function(model(image), mask).backward()
        optimizer.step()

    built = resident("VmRSS")
    step(image[:1, :, :SMALL, :SMALL], mask[:1, :, :SMALL, :SMALL])
    optimizer.zero_grad()
    rest = resident("VmRSS")
    for _ in range(options.steps):
        step(image, mask)
    pipe.send((built, rest, resident("VmHWM")))


CONTENDERS = {
    "peer, fp32": (peer, ()),
    "segtrain": (segtrain, ()),
    "checkpointing": (segtrain, ("trainer.activation_checkpointing=true",)),
}


def main() -> None:
    """Print a line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch")
    parser.add_argument("encoder")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("words", nargs="*", help="overrides of segtrain's runs, such as trainer.precision=fp32")
    options = parser.parse_args()
    context = get_context("spawn")
    for name, (run, words) in CONTENDERS.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(options, theirs, *words))
        process.start()
        process.join()
        built, rest, peak = ours.recv()
        held = f"built {built:5.0f} MB, rest {rest:5.0f} MB, peak {peak:5.0f} MB"
        print(f"{name:14} {held}: above built {peak - built:5.0f} MB, above rest {peak - rest:5.0f} MB", flush=True)


if __name__ == "__main__":
    main()
