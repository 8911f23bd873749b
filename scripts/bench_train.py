"""Training speed: segtrain against a plain fp32 loop around segmentation_models_pytorch, and against a bare step.

Every contender lives in a process of its own and trains when it is its turn; turns alternate, so that a noisy machine
is noisy for all. A turn is one epoch over the first images of the Oxford pets, loader start-up included.

    python scripts/bench_train.py --root ../shared/data

- ``plain``: SMP model, contiguous fp32, Adam, Dice, PIL loader with 2 workers: what people write by hand
- ``tuned``: the same by an expert: bf16 where the hardware has it, channels_last, fused AdamW, workers that stay
- ``lightning``: the model, settings and loader of ``tuned`` in Lightning's loop (`pip install lightning`)
- ``segtrain``: the trainer as `segtrain experiment=pets_lite0` runs it, with 2 workers
- ``memory``: the same trainer, fed from memory
- ``compiled``: the trainer fed from memory, with `trainer.compile=true`
- ``bare``: forward, loss, backward, clip, step on the same model, batch and precision, and nothing else
"""

import argparse
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from segtrain.build.training import build_trainer
from segtrain.data.sample import Batch
from segtrain.run.plan import make_plan
from segtrain.runtime.device import Runtime, keep_freed_memory, make_runtime
from segtrain.training.trainer import Trainer

Turn = Callable[[], int]
PAIRS = (
    ("unet", "resnet34"),
    ("fpn", "tf_efficientnet_lite0"),
    ("fpn", "efficientnet-b4"),
    ("deeplabv3plus", "resnet50"),
    ("unet", "mit_b0"),
    ("unetplusplus", "mobilenetv3_large_100"),
)
SMP_NAMES = {
    "tf_efficientnet_lite0": "tu-tf_efficientnet_lite0",
    "mobilenetv3_large_100": "timm-mobilenetv3_large_100",
}


class PetsByHand(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What a tutorial writes: open, resize, convert."""

    def __init__(self, root: str, count: int) -> None:
        from torchvision.datasets import OxfordIIITPet

        self.pets, self.count = OxfordIIITPet(root, split="trainval", target_types="segmentation"), count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, trimap = self.pets[index]
        pixels = np.asarray(image.convert("RGB").resize((256, 256)), np.float32) / 255
        mask = np.asarray(trimap.resize((256, 256), 0)) != 2
        return torch.from_numpy((pixels - 0.45) / 0.23).permute(2, 0, 1).contiguous(), torch.from_numpy(mask).float()[
            None
        ]


def model_of_smp(arch: str, encoder: str) -> nn.Module:
    """Make SMP's model of one class."""
    import segmentation_models_pytorch as smp

    model: nn.Module = smp.create_model(arch, SMP_NAMES.get(encoder, encoder), encoder_weights=None, classes=1)
    return model.train()


def plain(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make the hand-written loop."""
    import segmentation_models_pytorch as smp

    model = model_of_smp(arch, encoder)
    loss_function, optimizer = smp.losses.DiceLoss("binary"), torch.optim.Adam(model.parameters(), 2e-4)
    dataset = PetsByHand(options.root, options.images)
    loader = DataLoader(dataset, options.batch_size, shuffle=True, num_workers=options.workers, drop_last=True)

    def turn() -> int:
        images = 0
        for image, mask in loader:
            optimizer.zero_grad()
            loss = loss_function(model(image), mask)
            loss.backward()
            optimizer.step()
            loss.item()
            images += len(image)
        return images

    return turn


def lasting_loader(options: argparse.Namespace, runtime: Runtime) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Make a loader whose workers stay from epoch to epoch."""
    return DataLoader(
        PetsByHand(options.root, options.images),
        options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        drop_last=True,
        persistent_workers=True,
        pin_memory=runtime.device.type == "cuda",
    )


def tuned(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make the hand-written loop of an expert."""
    import segmentation_models_pytorch as smp

    runtime = make_runtime("auto", "auto")
    model = model_of_smp(arch, encoder).to(runtime.device).to(memory_format=torch.channels_last)
    loss_function = smp.losses.DiceLoss("binary")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    loader = lasting_loader(options, runtime)

    def turn() -> int:
        images = 0
        for image, mask in loader:
            pixels = image.to(runtime.device, memory_format=torch.channels_last, non_blocking=True)
            with runtime.autocast():
                logits = model(pixels)
            loss_function(logits.float(), mask.to(runtime.device, non_blocking=True)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            images += len(image)
        return images

    return turn


def lightning(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make Lightning's loop around what ``tuned`` trains; it runs in a thread that waits for its turns."""
    import segmentation_models_pytorch as smp
    from lightning import LightningModule
    from lightning import Trainer as LightningTrainer

    begin, ended = Queue[bool](), Queue[int]()
    runtime = make_runtime("auto", "auto")

    class Module(LightningModule):  # type: ignore[misc, unused-ignore] # no types where it is not installed
        def __init__(self) -> None:
            super().__init__()
            self.model = model_of_smp(arch, encoder).to(memory_format=torch.channels_last)
            self.loss = smp.losses.DiceLoss("binary")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), 1e-3, fused=True)

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int) -> torch.Tensor:
            image, mask = batch
            loss: torch.Tensor = self.loss(self.model(image.to(memory_format=torch.channels_last)).float(), mask)
            return loss

        def on_before_optimizer_step(self, _optimizer: torch.optim.Optimizer) -> None:
            # Lightning's own clipping refuses a fused optimizer
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)

        def on_train_epoch_start(self) -> None:
            begin.get()

        def on_train_epoch_end(self) -> None:
            ended.put(len(loader) * options.batch_size)

    loader = lasting_loader(options, runtime)
    trainer = LightningTrainer(
        max_epochs=-1,
        precision="bf16-mixed" if runtime.precision == "bf16" else 32,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    Thread(target=trainer.fit, args=(Module(), loader), daemon=True).start()

    def turn() -> int:
        begin.put(True)
        return ended.get()

    return turn


def make_trainer(arch: str, encoder: str, options: argparse.Namespace, *words: str) -> Trainer:
    """Build segtrain's own trainer from the command line that a user would type."""
    keep_freed_memory()
    plan = make_plan(
        (
            "experiment=pets_lite0",
            f"arch={arch}",
            f"encoder={encoder}",
            "encoder.weights=null",
            f"data.root={options.root}",
            "data.download=false",
            f"data.limit={options.images}",
            f"data.batch_size={options.batch_size}",
            f"data.num_workers={options.workers}",
            "trainer.epochs=1000",
            "logger=none",
            *words,
        ),
        None,
    )
    folder = Path(tempfile.mkdtemp())
    (folder / "checkpoints").mkdir()
    return build_trainer(plan.job, folder)


def epoch_of(trainer: Trainer, options: argparse.Namespace) -> Turn:
    """Train one epoch a turn."""
    trainer.log.total_steps = trainer.total_steps

    def turn() -> int:
        trainer.train_epoch()
        trainer.end_epoch()
        return len(trainer.train) * int(options.batch_size)

    return turn


def segtrain(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make the trainer as it is."""
    return epoch_of(make_trainer(arch, encoder, options), options)


class MemoryFeed:
    """Batches that are there already."""

    on_device_since = None  # they are augmented already

    def __init__(self, batches: list[Batch]) -> None:
        self.kept = batches

    def __len__(self) -> int:
        return len(self.kept)

    def batches(self, _epoch: int = 0, _batch: int = 0) -> Iterator[Batch]:
        """Iterate over them."""
        return iter(self.kept)


def memory(arch: str, encoder: str, options: argparse.Namespace, *words: str) -> Turn:
    """Make the trainer fed from memory."""
    trainer = make_trainer(arch, encoder, options, *words)
    trainer.train = MemoryFeed(list(trainer.train.batches()))  # type: ignore[assignment]
    return epoch_of(trainer, options)


def compiled(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make the trainer fed from memory, its blocks compiled."""
    return memory(arch, encoder, options, "trainer.compile=true")


def bare(arch: str, encoder: str, options: argparse.Namespace) -> Turn:
    """Make the bare step loop, out of the parts of a trainer."""
    trainer = make_trainer(arch, encoder, options)
    batches, model, optimizer = list(trainer.train.batches()), trainer.model, trainer.optimizer

    def turn() -> int:
        model.train()
        for batch in batches:
            images, target = trainer.runtime.images(batch["image"]), trainer.runtime.masks(batch["mask"])
            with trainer.runtime.autocast():
                logits = model(model.normalize(images))
            trainer.loss(logits, target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return len(batches) * int(options.batch_size)

    return turn


CONTENDERS = {
    "plain": plain,
    "tuned": tuned,
    "lightning": lightning,
    "segtrain": segtrain,
    "memory": memory,
    "compiled": compiled,
    "bare": bare,
}


def live(name: str, arch: str, encoder: str, options: argparse.Namespace, pipe: Connection) -> None:
    """Take turns until told to stop; a turn answers with images per second."""
    torch.manual_seed(0)
    turn = CONTENDERS[name](arch, encoder, options)
    while pipe.recv():
        start = time.perf_counter()
        pipe.send(turn() / (time.perf_counter() - start))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(arch: str, encoder: str, options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Let all contenders train in alternation; the first turn of each warms up and is not counted.

    Returns images per second of each turn, and the peak memory of each process in MiB, its workers' not counted.
    """
    context = get_context("spawn")
    pipes, processes = {}, []
    for name in options.contenders:
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=live, args=(name, arch, encoder, options, theirs), daemon=False))
        processes[-1].start()
    speeds: dict[str, list[float]] = {name: [] for name in pipes}
    for number in range(options.rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            speed = pipe.recv()
            speeds[name] += [speed] if number else []
    peaks: dict[str, float] = {}
    for name, pipe in pipes.items():
        pipe.send(False)
        peaks[name] = pipe.recv()
    for process in processes:
        process.join()
    return speeds, peaks


def ratio(speeds: dict[str, list[float]], name: str, reference: str) -> float:
    """Return the median over rounds of one speed over another."""
    return statistics.median(a / b for a, b in zip(speeds[name], speeds[reference], strict=True))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="../shared/data", help="the folder that holds oxford-iiit-pet/")
    parser.add_argument("--images", type=int, default=96, help="images in a turn")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    usual = [name for name in CONTENDERS if name != "compiled"]  # which takes minutes to begin
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=usual)
    parser.add_argument("--pairs", nargs="+", default=["/".join(pair) for pair in PAIRS])
    options = parser.parse_args()
    wanted = [
        ("segtrain", "plain"),
        ("segtrain", "tuned"),
        ("segtrain", "lightning"),
        ("memory", "bare"),
        ("segtrain", "bare"),
    ]
    asked = [pair for pair in wanted if set(pair) <= set(options.contenders)]
    found: dict[tuple[str, str], list[float]] = {pair: [] for pair in asked}
    for model in options.pairs:
        arch, encoder = model.split("/")
        speeds, peaks = measure(arch, encoder, options)
        medians = "  ".join(f"{name} {statistics.median(values):.2f}" for name, values in speeds.items())
        print(f"{arch}/{encoder}: images/s {medians}")
        print("    peak memory in MiB " + "  ".join(f"{name} {peak:.0f}" for name, peak in peaks.items()))
        for pair in asked:
            found[pair].append(ratio(speeds, *pair))
            print(f"    {pair[0]} / {pair[1]}: {found[pair][-1]:.3f}", flush=True)
    for (name, reference), ratios in found.items():
        print(f"geometric mean {name} / {reference}: {math.exp(statistics.mean(map(math.log, ratios))):.3f}")


if __name__ == "__main__":
    main()
