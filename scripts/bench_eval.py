"""Speed of evaluation over the Oxford pets test images: segtrain against a hand-written SMP loop.

    python scripts/bench_eval.py --root ../shared/data

They take turns, each in a process of its own: how segtrain has the C library keep freed memory holds for a process.

- ``smp``: an fp32 model, a PIL loader with 2 workers, `get_stats` on every batch, one IoU at the end
- ``input``: segtrain's evaluation of the same: the size that the model saw, counts alone; one image at a time on a CPU
- ``original``: what `segtrain eval` does by default: every image at its own size, curves and calibration in the pass

All have FPN with EfficientNet-Lite0 at 256x256, random weights, batches of 8, and read the files in every round.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segtrain import create_model
from segtrain.build.parts import build_feed, checked_config, open_source
from segtrain.config.compose import compose
from segtrain.config.schema import EvalOptions
from segtrain.evaluation.evaluator import evaluate
from segtrain.evaluation.measures import Measures
from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.inference.network import Network, OneByOne
from segtrain.runtime.device import keep_freed_memory, make_runtime
from segtrain.task import Binary

ENCODER = "tf_efficientnet_lite0"
Turn = Callable[[], int]
_turn: Turn


class PetsByHand(Dataset[tuple[Tensor, Tensor]]):
    """What a tutorial writes: open, resize, convert."""

    def __init__(self, root: str) -> None:
        from torchvision.datasets import OxfordIIITPet

        self.pets = OxfordIIITPet(root, split="test", target_types="segmentation")

    def __len__(self) -> int:
        return len(self.pets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, trimap = self.pets[index]
        pixels = np.asarray(image.convert("RGB").resize((256, 256)), np.float32) / 255
        mask = np.asarray(trimap.resize((256, 256), 0)) != 2
        return torch.from_numpy((pixels - 0.45) / 0.23).permute(2, 0, 1).contiguous(), torch.from_numpy(mask).long()


def smp(root: str) -> Turn:
    """Make the hand-written loop."""
    import segmentation_models_pytorch as smp

    model = smp.FPN(f"tu-{ENCODER}", encoder_weights=None, classes=1).eval()
    loader = DataLoader(PetsByHand(root), 8, num_workers=2)

    @torch.inference_mode()
    def turn() -> int:
        stats, images = [], 0
        for image, mask in loader:
            found = smp.metrics.get_stats(model(image).sigmoid(), mask[:, None], mode="binary", threshold=0.5)
            stats.append(found)
            images += len(image)
        columns = [torch.cat(column) for column in zip(*stats, strict=True)]
        smp.metrics.iou_score(*columns, reduction="micro")
        return images

    return turn


def segtrain(root: str, options: EvalOptions) -> Turn:
    """Make the evaluation of `segtrain eval`."""
    keep_freed_memory()
    words = ["experiment=pets_lite0", f"data.root={root}", "data.download=false", "encoder.weights=null"]
    config, evaluating = checked_config(compose("train", words).job), compose("eval", ["ckpt=none"]).job
    runtime, task = make_runtime("auto", evaluating["precision"]), Binary(["pet"])
    model = create_model("fpn", ENCODER).eval()
    runtime.place(model)
    network = Network(model, runtime)
    if runtime.device.type == "cpu":  # as the command does
        network = OneByOne(network)
    own_size = options.at == "original"
    source = open_source(config, "test")
    source.verify()
    feed = build_feed(config, source, runtime, training=False, own_size=own_size)
    feed.dataset.cache = None

    def turn() -> int:
        measures = Measures(task, options, OperatingPoint())
        found = evaluate(network, feed.batches(), task=task, measure=measures.update)
        measures.scores(found.counts)
        return len(found.ids)

    return turn


def prepare(name: str, root: str) -> None:
    """Make, in this process, what `take_turn` runs."""
    global _turn
    if name == "smp":
        _turn = smp(root)
        return
    options = EvalOptions(**compose("eval", ["ckpt=none"]).job["eval"])
    _turn = segtrain(root, replace(options, at="input", curves=False, bootstrap=0) if name == "input" else options)


def take_turn() -> float:
    """Evaluate once, and return the images per second."""
    start = time.perf_counter()
    images = _turn()
    return images / (time.perf_counter() - start)


def main() -> None:
    """Let them take turns, the first of which is not counted, and print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="../shared/data", help="the folder that holds oxford-iiit-pet/")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare, initargs=(name, arguments.root))
            )
            for name in ("smp", "input", "original")
        }
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(arguments.rounds + 1):
            for name, process in contenders.items():
                speed = process.submit(take_turn).result()
                speeds[name] += [speed] if number else []
    for name, values in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(values, speeds["smp"], strict=True))
        print(f"{name}: {statistics.median(values):.1f} images/s, {ratio:.2f} of the SMP loop's")


if __name__ == "__main__":
    main()
