"""Speed of two processes on two cores against one process that uses both, at the same images a step.

    python scripts/bench_ranks.py --rounds 3

They take turns. One process has two threads and batches of 16; each of two has one thread and batches of 8, and they
exchange gradients by gloo. What is measured is the whole loop, as its log says: images a second, the median of the
steps after the first few. Images are drawn shapes of 256x256, read from memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

PAIRS = (("fpn", "tf_efficientnet_lite0"), ("unet", "resnet34"))
CORES = 2
_IMAGES = 16  # a step
_SKIPPED = 4  # steps, until memory and caches are filled


def speed(ranks: int, words: Sequence[str], steps: int) -> float:
    """Train on so many processes, which share the cores; returns images a second."""
    with TemporaryDirectory() as folder:
        start = ["launch", f"nproc={ranks}"] if ranks > 1 else []
        sizes = [f"data.batch_size={_IMAGES // ranks}", f"data.train={_IMAGES * steps}", "data.val=2"]
        loop = ["trainer.epochs=1", "trainer.log_every=1", "logger=none", f"hydra.run.dir={folder}/run"]
        data = ["data=shapes", "data.size=256", "data.image_size=256", "data.num_workers=0", "encoder.weights=null"]
        command = [sys.executable, "-m", "segtrain", *start, *data, *sizes, *loop, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": str(CORES // ranks)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        rows = map(json.loads, (Path(folder) / "run/metrics.jsonl").read_text().splitlines())
        speeds = [float(row["images_per_second"]) for row in rows if row["split"] == "train"]
    return statistics.median(speeds[_SKIPPED:])


def main() -> None:
    """Print a row for each pair and strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--strategies", nargs="+", default=["ddp", "fsdp"])
    options = parser.parse_args()
    print("model, strategy: images/s of one process, of two; ratio, median of the rounds (least..most)")
    for arch, encoder in PAIRS:
        model = [f"arch={arch}", f"encoder={encoder}"]
        for strategy in options.strategies:
            words = [*model, f"trainer.strategy={strategy}"]
            turns = [(speed(1, words, options.steps), speed(2, words, options.steps)) for _ in range(options.rounds)]
            one, two = (statistics.median(column) for column in zip(*turns, strict=True))
            ratios = sorted(two / one for one, two in turns)
            ratio = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}..{ratios[-1]:.3f})"
            print(f"{arch} {encoder}, {strategy}: {one:.2f}, {two:.2f}; {ratio}", flush=True)


if __name__ == "__main__":
    main()
