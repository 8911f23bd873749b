"""What training images cost under each augmentation, in one process, on images as large as CamVid's.

Figures are times relative to that of a scaled crop alone, medians of rounds in which all take turns;
`decode` is reading the same image from a PNG file, which a cache saves.

    python scripts/bench_augment.py --rounds 30
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from segtrain.build.parts import checked_config, construct
from segtrain.config.compose import compose
from segtrain.config.groups import Groups
from segtrain.data.class_index import read_index
from segtrain.data.loading.composition import Composition
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.data.sample import RawSample, Source

SIZE, SIDE, IMAGES = (360, 480), 320, 16
EXTRAS = ("rare_crops", "mosaic", "cutmix", "copy_paste")


class Blobs(Source):
    """Smooth random images of eleven classes, some rare, in memory."""

    class_names = tuple(f"class{number}" for number in range(11))
    ids = tuple(map(str, range(IMAGES)))

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        coarse = rng.random((IMAGES, 12, 16)) ** 3  # low labels are frequent
        labels = [cv2.resize(each, SIZE[::-1], interpolation=cv2.INTER_NEAREST) for each in coarse]
        self.samples = [
            RawSample(cv2.resize(rng.integers(0, 256, (45, 60, 3), np.uint8), SIZE[::-1]), np.uint8(11 * mask), name)
            for mask, name in zip(labels, self.ids, strict=True)
        ]

    def __getitem__(self, index: int) -> RawSample:
        return self.samples[index]


def contender(source: Blobs, *words: str) -> Callable[[int], object]:
    """Make the function that gives one training image by its number."""
    config = checked_config(compose("train", [*words]).job)
    augment = construct(config.augment, "augment")
    fitting = Fitting("none", SIDE)
    composition = Composition(augment, fitting, length=IMAGES, index=read_index(source))
    pipeline = Pipeline(fitting, augment.transforms)

    def make(number: int) -> RawSample:
        rng = np.random.default_rng((0, number))
        return pipeline.augment(composition(number % IMAGES, rng, source.__getitem__), (0, number))

    return make


def main() -> None:
    """Print one line for each augmentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="of 16 images each")
    options = parser.parse_args()
    cv2.setNumThreads(0)  # as in a worker of the loader
    source = Blobs()
    files = [cv2.imencode(".png", sample.image)[1] for sample in source.samples]
    makers: dict[str, Callable[[int], object]] = {"augment=none": contender(source, "augment=none")}
    makers["decode"] = lambda number: cv2.imdecode(files[number % IMAGES], cv2.IMREAD_COLOR)
    makers["scale 0.6 to 1.5"] = contender(source, "augment=none", "augment.scale=[0.6,1.5]")
    for key in EXTRAS:
        makers[key] = contender(source, "augment=none", "augment.scale=[0.6,1.5]", f"augment.{key}=1.0")
    for choice in sorted(Groups.find().choices("augment")):
        makers[f"augment={choice}"] = makers.get(f"augment={choice}") or contender(source, f"augment={choice}")
    times: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(options.rounds):
        for name, make in makers.items():
            start = time.perf_counter()
            for number in range(IMAGES):
                make(IMAGES * turn + number)
            times[name].append((time.perf_counter() - start) / IMAGES)
    base = times["scale 0.6 to 1.5"]
    for name, taken in times.items():
        ratio = statistics.median(each / reference for each, reference in zip(taken, base, strict=True))
        print(f"{name:20} {1000 * statistics.median(taken):7.2f} ms  {ratio:5.2f}")


if __name__ == "__main__":
    main()
