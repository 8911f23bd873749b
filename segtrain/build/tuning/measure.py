"""Measuring step and loader apart: the trainer itself on images of noise, and the feed itself without a model."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from segtrain.build.parts import build_feed, build_fitting, checked_config, construct, open_source
from segtrain.build.training import build_trainer
from segtrain.build.tuning.search import Measured, over_epochs
from segtrain.build.tuning.settings import Facts
from segtrain.config.compose import compose
from segtrain.config.schema import DataConfig, TrainConfig
from segtrain.config.signature import TARGET
from segtrain.data.sample import Batch, RawSample, Source, Split
from segtrain.errors import ShortOfMemoryError
from segtrain.runtime.device import keep_freed_memory, make_runtime
from segtrain.task import Mode
from segtrain.training.step import grouped
from segtrain.training.trainer import Trainer

_WARM_UP = 2  # steps: the first allocates, and the second has the optimizer's state
_BLOCKS = 3  # of steps, between two looks at the clock; the median of them is the result


@dataclass(frozen=True)
class Kind:
    """What images are like, to make noise of the same kind: all that a step's time depends on.

    ``size`` is their own where they are trained on at that; None: it is the config's. ``sample_bytes`` is what the
    cache takes for each of ``count``.
    """

    mode: Mode
    class_names: tuple[str, ...]
    channels: int
    image_classes: tuple[str, ...]
    dtype: str
    size: tuple[int, int] | None
    count: int
    sample_bytes: int

    @classmethod
    def of(cls, config: TrainConfig, source: Source) -> "Kind":
        """Describe the images that a config trains on; one of them is read."""
        first = build_fitting(config)(source[0])
        own = config.data.fit == "none" and not construct(config.augment, "augment").crops
        return cls(
            mode=source.mode,
            class_names=tuple(source.class_names),
            channels=source.channels,
            image_classes=tuple(source.image_classes),
            dtype=str(first.image.dtype),
            size=(first.image.shape[0], first.image.shape[1]) if own else None,
            count=min(len(source), config.data.limit or len(source)),
            sample_bytes=first.image.nbytes + first.mask.nbytes,
        )


class Noise(Source):
    """Images and labels of noise, all the same two: nothing is read, and every class is there."""

    def __init__(
        self,
        *,
        split: Split,
        mode: Mode,
        class_names: list[str],
        channels: int,
        image_classes: list[str],
        dtype: str,
        size: list[int],
        count: int,
    ) -> None:
        self.mode, self.class_names, self.channels = mode, tuple(class_names), channels
        self.ids = tuple(f"{split}-{number}" for number in range(count))
        self.image_classes = tuple(image_classes)
        self.image_labels = tuple(number % len(image_classes) for number in range(count)) if image_classes else ()
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (*size, channels))
        self._image = (pixels / 255 if dtype.startswith("float") else pixels).astype(dtype)
        labels = {"binary": 2, "multiclass": len(class_names), "multilabel": 2}[mode]
        shape = (len(class_names), *size) if mode == "multilabel" else size
        self._mask = rng.integers(0, labels, shape, dtype=np.uint8)

    def __getitem__(self, index: int) -> RawSample:
        return RawSample(self._image, self._mask, self.ids[index])


def job_of_noise(job: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a job that trains as another does, on noise: without its files, weights, changes of images and logs."""
    shared = {field.name: job["data"][field.name] for field in fields(DataConfig) if field.name != "leaf"}
    size = list(kind.size or to_pair(shared["image_size"]))
    noise = {
        TARGET: f"{Noise.__module__}.{Noise.__name__}",
        "mode": kind.mode,
        "class_names": list(kind.class_names),
        "channels": kind.channels,
        "image_classes": list(kind.image_classes),
        "dtype": kind.dtype,
        "size": size,
        "count": shared["batch_size"] * job["trainer"]["grad_accum_steps"],
    }
    plainly = {"fit": "none", "image_size": size, "sampling": "uniform", "limit": None}
    loader = {"num_workers": 0, "cache": "none"}
    encoder = {**job["encoder"], **({"weights": None} if "weights" in job["encoder"] else {})}
    endless = {"max_steps": 10**9, "max_time": None, "auto_resume": False, "profile_steps": 0}
    plain = compose("train", ["augment=none", "logger=none"]).job
    return {
        **job,
        "init_from": None,
        "resume": None,
        "data": {**shared, **plainly, **loader, **noise},
        "encoder": encoder,
        "augment": {**plain["augment"], "mixup": job["augment"].get("mixup", 0.0)},  # which has two losses
        "logger": plain["logger"],
        "trainer": {**job["trainer"], **endless},
    }


def to_pair(size: int | Sequence[int]) -> Sequence[int]:
    """Return the height and width of ``data.image_size``."""
    return (size, size) if isinstance(size, int) else size


def measure_step(
    job: Mapping[str, Any], kind: Kind, folder: Path, seconds: float, *, saves: bool
) -> tuple[Measured, Facts]:
    """Measure optimizer steps for some seconds; ``saves`` has the peak of memory include a checkpoint's copy.

    What a run writes goes to the folder.

    Raises `SegtrainError` for what the user can fix, `ShortOfMemoryError` where memory runs out.
    """
    keep_freed_memory(sparing=job["trainer"]["activation_checkpointing"])
    (folder / "checkpoints").mkdir()
    trainer = build_trainer(job_of_noise(job, kind), folder)
    trainer.network.module.train()
    trainer.model.start_epoch(0)
    rate, startup = steps_rate(trainer, seconds)
    if saves:
        trainer.save()
        trainer.checkpoints.wait()
    compiles = startup if trainer.options.compile else 0.0
    return Measured(rate, peak_memory(trainer.runtime.device), startup=compiles), facts_of(trainer)


def steps_rate(trainer: Trainer, seconds: float) -> tuple[float, float]:
    """Return the images a second of a trainer's steps on the same batches, and the seconds of the steps before."""
    group: list[Batch] = next(grouped(trainer.train.batches(), trainer.options.grad_accum_steps))
    images = sum(len(batch["image"]) for batch in group)

    def step() -> None:
        trainer.train_step(group)
        trainer.state.step += 1

    startup = seconds_for(_WARM_UP, step, trainer.runtime.device)
    once = seconds_for(1, step, trainer.runtime.device)
    steps = max(1, round(seconds / _BLOCKS / once))
    rate = images / median(seconds_for(steps, step, trainer.runtime.device) / steps for _ in range(_BLOCKS))
    if trainer.step.parts > 1:  # it goes on in smaller parts, which is no measurement of these settings
        raise ShortOfMemoryError("out of memory")
    return rate, startup


def seconds_for(times: int, step: Callable[[], None], device: torch.device) -> float:
    """Return the seconds that so many steps take, with all that the device still has to do of them."""
    wait_for(device)
    start = time.perf_counter()
    for _ in range(times):
        step()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory(device: torch.device) -> int:
    """Return the bytes that were in use at most: of tensors on a GPU, else of this whole process.

    A copy of a process counts of the libraries only what it has used itself; a training reads all of them.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    per_unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    unread = max(0, bytes_of_files(os.getppid()) - bytes_of_files(os.getpid()))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * per_unit + unread


def bytes_of_files(pid: int) -> int:
    """Return how much of a process's memory are files, such as libraries; 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("RssFile:"):
                return int(line.split()[1]) * 1024
    return 0


def facts_of(trainer: Trainer) -> Facts:
    """Describe what a trainer trains, and on what."""
    runtime = trainer.runtime
    return Facts(
        device=runtime.device.type,
        device_name=runtime.device_name,
        precision=runtime.precision,
        automatic=make_runtime(str(runtime.device), "auto").precision,
        normalised=any(isinstance(module, _BatchNorm) for module in trainer.model.modules()),
        threads=torch.get_num_threads() if runtime.device.type == "cpu" else 0,
    )


def measure_loader(job: Mapping[str, Any], seconds: float) -> Measured:
    """Measure the feed of a training without its model: first images that are read, then those of later epochs.

    Raises `SegtrainError` for what the user can fix.
    """
    augment = job["augment"]
    if augment.get("device") == "auto":  # would move to a GPU that has nothing to do
        job = {**job, "augment": {**augment, "device": "cpu"}}
    config = checked_config(job)
    runtime = make_runtime(config.device, config.trainer.precision)
    feed = build_feed(config, open_source(config, "train"), runtime, training=True)
    count, cold = read(feed.batches(), seconds / 2)
    warm = [read(islice(feed.batches(), count), seconds / 2)[1]]
    until = time.monotonic() + seconds / 2
    while time.monotonic() < until:  # a short epoch, several times
        warm.append(read(islice(feed.batches(), count), seconds / 2)[1])
    cache, length = feed.dataset.cache, len(feed.dataset)
    rate = over_epochs(
        cold,
        median(warm),
        epochs=epochs_of(config, batches=len(feed)),
        held=cache.capacity / length if cache is not None else 0.0,
    )
    return Measured(rate, peak_memory(torch.device("cpu")))


def read(batches: Iterator[Batch], seconds: float) -> tuple[int, float]:
    """Read batches until the time is over; returns how many, and the images a second."""
    start, images, count = time.perf_counter(), 0, 0
    for batch in batches:
        images, count = images + len(batch["image"]), count + 1
        if time.perf_counter() - start > seconds:
            break
    return count, images / (time.perf_counter() - start)


def epochs_of(config: TrainConfig, *, batches: int) -> float:
    """Return how many epochs a training has, of so many batches each."""
    steps = config.trainer.max_steps
    return config.trainer.epochs if steps is None else steps * config.trainer.grad_accum_steps / batches
