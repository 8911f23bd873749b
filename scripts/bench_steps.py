"""What each thing that training on CPUs computes otherwise gives a whole step, for the pairs of `bench_train.py`.

A step is forward, loss, backward, clip and optimizer on one batch of pets, as in `bench_train.py`'s ``bare``. For each
pair there is segtrain's step, and one without each of the changes; they take turns in one process. What a change gives
is how much longer the step takes without it, in percent, the median over the turns.

    python scripts/bench_steps.py --root ../shared/data
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import bench_train

import segtrain.models.upsampling
import segtrain.runtime.device


@contextmanager
def replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Give a module another value, and its own one back."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _leave(_model: object) -> int:
    return 0


DEVICE, UPSAMPLING = segtrain.runtime.device, segtrain.models.upsampling
WITHOUT = {
    "doubled maps": partial(replaced, UPSAMPLING, "_LEAST_PIXELS", float("inf")),
    "depthwise": partial(replaced, DEVICE, "tile_depthwise", _leave),
    "squeeze-and-excitation": partial(replaced, DEVICE, "share_means", _leave),
    "group normalisation": partial(replaced, DEVICE, "quicken_group_norm", _leave),
}


def main() -> None:
    """Print a line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="../shared/data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", nargs="+", default=["/".join(pair) for pair in bench_train.PAIRS])
    given = parser.parse_args()
    options = argparse.Namespace(root=given.root, images=8, batch_size=8, workers=0)
    for pair in given.pairs:
        arch, encoder = pair.split("/")
        steps: dict[str, tuple[bench_train.Turn, Any]] = {"segtrain": (bench_train.bare(arch, encoder, options), None)}
        for name, without in WITHOUT.items():
            with without():
                steps[name] = (bench_train.bare(arch, encoder, options), without)
        turns = [{name: seconds(*step) for name, step in steps.items()} for _ in range(given.rounds + 1)][1:]
        own = statistics.median(turn["segtrain"] for turn in turns)
        gains = {name: statistics.median(turn[name] / turn["segtrain"] - 1 for turn in turns) for name in WITHOUT}
        said = ", ".join(f"{name} {gain:+.1%}" for name, gain in gains.items())
        print(f"{arch}, {encoder}: {1000 * own:.0f} ms; without {said}", flush=True)


def seconds(turn: bench_train.Turn, without: Any) -> float:
    """Time a step, without a change where there is one to leave out."""
    start = time.perf_counter()
    if without is None:
        turn()
    else:
        with without():  # doubled maps are chosen while the model runs
            turn()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
