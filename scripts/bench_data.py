"""Speed of data: samples per core against other loaders, the share of a training spent waiting, and second starts.

    python scripts/bench_data.py --root ../shared/data

Loaders take turns in one process and on one thread, each over the same images of the Oxford pets, brought to 256x256
and augmented by the same kinds of transforms, each by its own library's; a ratio is the median over rounds. CPU
seconds are counted.

- ``article``: what tutorials write: Pillow opens, converts and resizes, NumPy, albumentations
- ``torchvision``: `torchvision.io` decodes, transforms v2 resize and augment tensors
- ``segtrain``: the samples of a training, without a cache, and from a filled cache in memory and on disk

``photos`` are of 12 megapixels, written for it, and decoded at a part of their size.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image

from segtrain.build.training import build_trainer
from segtrain.data import Folder, OxfordPets
from segtrain.data.files.images import read_image, read_reduced
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Listing
from segtrain.data.files.verify import verify_pairs
from segtrain.data.loading.dataset import AugmentedDataset
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.run.plan import make_plan
from segtrain.runtime.device import keep_freed_memory

Loader = Callable[[int], Any]
SIZE = 256
PAIRS = 20_000
ENTRIES = 1_000_000


def transforms_of(augment: str, package: str) -> list[Any]:
    """Make the transforms of a choice; with ``package`` albumentations, its own in place of ours."""
    nodes = json.dumps(make_plan((f"augment={augment}", "data=shapes"), None).job["augment"]["transforms"])
    return [instantiate(node, _convert_="all") for node in json.loads(nodes.replace("segtrain.data", package))]


def article(pets: OxfordPets, augment: str) -> Loader:
    """Load as tutorials do."""
    compose = A.Compose(transforms_of(augment, "albumentations"))

    def load(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = pets.pairs[index]
        image = np.array(Image.open(pair.image).convert("RGB"))
        trimap = np.array(Image.open(str(pair.masks[0]))).astype(np.float32)
        trimap[trimap == 2.0] = 0.0
        trimap[(trimap == 1.0) | (trimap == 3.0)] = 1.0
        small = np.array(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        mask = np.array(Image.fromarray(trimap).resize((SIZE, SIZE), Image.Resampling.NEAREST))
        found = compose(image=small, mask=mask)
        return torch.from_numpy(np.moveaxis(found["image"], -1, 0)), torch.from_numpy(found["mask"][None])

    return load


def by_torchvision(pets: OxfordPets, augment: str) -> Loader:
    """Load with torchvision's decoders and transforms v2, which are of the same kinds, ranges and chances."""
    from torchvision import io, tv_tensors
    from torchvision.transforms import v2

    kinds = {
        "light": [v2.RandomApply([v2.ColorJitter(brightness=0.2, contrast=0.2)], p=0.5)],
        "standard": [
            v2.RandomApply(
                [v2.RandomAffine(15, (0.1, 0.1), (0.75, 1.5), fill={tv_tensors.Image: 0, tv_tensors.Mask: 255})], p=0.7
            ),
            v2.RandomApply([v2.ColorJitter(0.3, 0.3, 0.3, 0.05)], p=0.7),
            # kernels of albumentations have 3 to 13 pixels; noise takes one strength, the middle of the range
            v2.RandomApply([v2.RandomChoice([v2.GaussianBlur(7, (0.5, 2.0)), v2.GaussianNoise(sigma=0.05)])], p=0.2),
        ],
    }
    chain = v2.Compose([v2.Resize([SIZE, SIZE], antialias=True), v2.RandomHorizontalFlip(), *kinds[augment]])

    def load(index: int) -> Any:
        pair = pets.pairs[index]
        image = io.decode_image(io.read_file(str(pair.image)), io.ImageReadMode.RGB, apply_exif_orientation=True)
        mask = io.decode_image(io.read_file(str(pair.masks[0])), io.ImageReadMode.UNCHANGED)
        return chain(tv_tensors.Image(image), tv_tensors.Mask((mask != 2).to(torch.uint8)))

    return load


def segtrain(kind: Any) -> Callable[[OxfordPets, str], Loader]:
    """Load as a training does, with a cache that is filled before its first turn, or none."""

    def make(pets: OxfordPets, augment: str) -> Loader:
        pipeline = Pipeline(Fitting("stretch", SIZE), transforms_of(augment, "segtrain.data"))
        dataset = AugmentedDataset(pets, pipeline, seed=0, cache=kind, cache_mb=4096)
        return lambda index: dataset[0, index]

    return make


CONTENDERS: dict[str, Callable[[OxfordPets, str], Loader]] = {
    "article": article,
    "torchvision": by_torchvision,
    "segtrain": segtrain("none"),
    "segtrain, ram": segtrain("ram"),
    "segtrain, disk": segtrain("disk"),
}


def compare_loaders(root: str, augment: str, rounds: int, images: int) -> None:
    """Print images per second and core of every loader, and segtrain's over those of the others."""
    pets = OxfordPets(split="train", root=root, download=False)
    loaders = {name: make(pets, augment) for name, make in CONTENDERS.items()}
    count = min(images, len(pets))
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for number in range(rounds + 1):  # the first round fills caches, and is not counted
        for name, load in loaders.items():
            start = time.process_time()
            for index in range(count):
                load(index)
            speeds[name] += [count / (time.process_time() - start)] if number else []
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"augment={augment}: images/s and core:", ", ".join(f"{name} {value:.0f}" for name, value in medians.items()))
    for name in [name for name in loaders if name.startswith("segtrain")]:
        for other in ("article", "torchvision"):
            ratio = statistics.median(a / b for a, b in zip(speeds[name], speeds[other], strict=True))
            print(f"    {name} / {other}: {ratio:.2f}", flush=True)


def write_photos(root: Path, count: int) -> None:
    """Write photos of 12 megapixels, smooth with edges and a grain, and masks of a few blobs."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse, fine = (
            cv2.resize(rng.integers(0, 256, (*cells, 3), dtype=np.uint8), (4000, 3000), interpolation=cv2.INTER_CUBIC)
            for cells in ((6, 8), (240, 320))
        )
        photo = cv2.addWeighted(coarse, 0.8, fine, 0.2, 0)
        grain: NDArray[np.uint8] = rng.integers(0, 8, (3000, 4000, 3), dtype=np.uint8)
        photo = cv2.add(photo, grain)
        cv2.imwrite(str(root / f"images/{number}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
        cv2.imwrite(str(root / f"masks/{number}.png"), np.where(coarse[..., 0] > 128, np.uint8(1), np.uint8(0)))


def compare_photos(rounds: int, images: int = 6) -> None:
    """Print how much quicker photos of 12 megapixels are brought to the size where they are decoded at a part of it."""
    root = Path(tempfile.mkdtemp())
    write_photos(root, images)
    source = Folder(split="all", root=str(root), classes=["a", "b"])
    fitting = Fitting("stretch", SIZE)
    pairs = [(str(pair.image), str(pair.masks[0])) for pair in source.pairs]

    def by_pillow(index: int) -> Any:
        image, mask = (Image.open(path) for path in pairs[index])
        small = np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        return small, np.array(mask.resize((SIZE, SIZE), Image.Resampling.NEAREST))

    loaders: dict[str, Loader] = {
        "Pillow": by_pillow,
        "whole": lambda index: fitting(source[index]),
        "reduced": lambda index: fitting(source.reduced(index, fitting.least_size)),
        "image, whole": lambda index: fitting.image(read_image(source.pairs[index].image)),
        "image, reduced": lambda index: fitting.image(read_reduced(source.pairs[index].image, (SIZE, SIZE))[0]),
    }
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, load in loaders.items():
            start = time.process_time()
            for index in range(images):
                load(index)
            times[name].append((time.process_time() - start) / images)
    print(", ".join(f"{name} {1000 * statistics.median(values):.0f} ms" for name, values in times.items()))
    for one, other in (("reduced", "Pillow"), ("reduced", "whole"), ("image, reduced", "image, whole")):
        ratio = statistics.median(b / a for a, b in zip(times[one], times[other], strict=True))
        print(f"    {one} / {other}: {ratio:.2f} times as fast", flush=True)


def share_waiting(root: str, images: int, workers: int) -> None:
    """Print the share of two epochs of the pets recipe that is spent waiting for batches, without and with cache."""
    keep_freed_memory()
    words = ("experiment=pets_lite0", "encoder.weights=null", f"data.root={root}", "data.download=false")
    options = (f"data.limit={images}", f"data.num_workers={workers}", "trainer.epochs=1000", "logger=none")
    folder = Path(tempfile.mkdtemp())
    (folder / "checkpoints").mkdir()
    torch.set_num_threads(os.cpu_count() or 1)
    trainer = build_trainer(make_plan((*words, *options), None).job, folder)
    trainer.log.total_steps = trainer.total_steps
    for epoch in ("first epoch, workers start", "second epoch, from the cache"):
        waited = 0.0
        start = time.perf_counter()
        batches = trainer.train.batches(trainer.state.epoch)
        trainer.network.module.train()
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - before
            if batch is None:
                break
            trainer.train_step([batch])
        trainer.state.epoch += 1
        print(f"{epoch}: {waited / (time.perf_counter() - start):.1%} of the time spent waiting for data", flush=True)


def write_pairs(root: Path, count: int) -> None:
    """Write small pairs, each with pixels of its own size."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image = cv2.imencode(".jpg", pixels)[1].tobytes()
    mask = cv2.imencode(".png", np.eye(64, dtype=np.uint8))[1].tobytes()
    for number in range(count):
        (root / f"images/photo_{number:06d}.jpg").write_bytes(image)
        (root / f"masks/photo_{number:06d}.png").write_bytes(mask)


def second_starts(pairs: int, entries: int) -> None:
    """Print what starts cost: a folder, and a list that names its files again and again up to ``entries``."""
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
    root = Path(tempfile.mkdtemp())
    write_pairs(root, pairs)
    sources: list[Folder] = []
    for name in ("first", "second"):
        clock, cpu = time.perf_counter(), time.process_time()
        sources = [Folder(split=split, root=str(root), classes=["a", "b"]) for split in ("train", "val")]
        for source in sources:
            source.verify()
        spent = time.perf_counter() - clock, time.process_time() - cpu
        print(f"{name} start of {pairs} pairs: {spent[0]:.2f} s, CPU {spent[1]:.2f} s", flush=True)
    files = [list(map(str, column)) for column in (sources[0].pairs.images, sources[0].pairs.masks[0])]
    tracemalloc.start()
    # texts of their own, as a list in a file gives them
    copies = [[column[number % len(column)].encode().decode() for number in range(entries)] for column in files]
    listing = Listing([f"sample_{number:07d}" for number in range(entries)], copies[0], (copies[1],))
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    print(f"the index of {entries} entries takes {megabytes:.0f} MB, {megabytes * 1e6 / entries:.0f} MB a million")
    for name in ("first", "second"):
        clock, cpu = time.perf_counter(), time.process_time()
        verify_pairs(listing, LabelMap(["a", "b"]), ["a", "b"])
        spent = time.perf_counter() - clock, time.process_time() - cpu
        print(f"{name} check of {entries} entries: {spent[0]:.2f} s, CPU {spent[1]:.2f} s", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="../shared/data", help="the folder that holds oxford-iiit-pet/")
    parser.add_argument("--augment", nargs="+", choices=["light", "standard"], default=["light", "standard"])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    for part in options.parts:
        PARTS[part](options)


def _loaders(options: argparse.Namespace) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    for augment in options.augment:
        compare_loaders(options.root, augment, options.rounds, options.images)


def _photos(options: argparse.Namespace) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    compare_photos(options.rounds)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "loaders": _loaders,
    "photos": _photos,
    "waiting": lambda options: share_waiting(options.root, options.images, options.workers),
    "starts": lambda options: second_starts(options.pairs, options.entries),
}

if __name__ == "__main__":
    main()
