"""Datasets with augmentation, batches in an order fixed by the seed, and the worker processes."""

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from multiprocessing import queues
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset, Sampler

from segtrain.config.schema import CacheKind
from segtrain.data.class_index import ClassIndex, class_index
from segtrain.data.loading.cache import Cache
from segtrain.data.loading.composition import Composition
from segtrain.data.loading.disk_cache import open_disk_cache
from segtrain.data.loading.on_device import DeviceTransforms, Moving, Placing, divide
from segtrain.data.loading.sampling import drawn, gathered, repeats
from segtrain.data.loading.transforms import Pipeline, to_sample
from segtrain.data.sample import Batch, RawSample, Sample, Source
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX

Key: TypeAlias = tuple[int, ...]
"""Epoch and index of a sample; and how often it came before in the epoch, where that is not 0."""

_COMPOSING = 1  # the stream of random numbers of compositions, beside that of transforms

NICENESS = 5  # of workers, so that the process that feeds the device goes before them
PREFETCH = 2  # batches that each worker prepares ahead
_TIMED_OUT = "DataLoader timed out after"
SHARED_MEMORY_SIGNS = ("Bus error", "No space left on device", "shared memory")  # in torch's messages


class AugmentedDataset(Dataset[Any]):
    """A source with fitting and augmentation; a sample depends on the seed and its key alone.

    ``limit`` takes that many samples, evenly spread over the source. Decoded and resized samples are
    cached for later epochs in up to ``cache_mb`` MiB, shared by all workers: in memory, or on disk for
    later runs too, as ``cache`` says.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        *,
        seed: int,
        limit: int | None = None,
        cache: CacheKind = "ram",
        cache_mb: int = 0,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.seed = seed
        length = len(source)
        kept = length if limit is None else min(limit, length)
        self.indices = [number * length // kept for number in range(kept)]  # evenly spread
        # the first sample sets the shapes of the cache: others that differ are decoded every epoch
        self.cache = self._make_cache(cache, cache_mb) if kept and cache_mb and cache != "none" else None
        self.composition: Composition | None = None  # None: whole fitted images
        self.moving: Moving | None = None  # None: all transforms run here
        self.staying: Pipeline | None = None  # of the transforms that do not move, if others do

    def _make_cache(self, kind: CacheKind, budget_mb: int) -> Cache | None:
        example, length = self._fitted(0), len(self)
        if kind == "ram":
            return Cache(example, length, budget_mb)
        version, fitting = self.source.version(), self.pipeline.fitting
        key = version and f"{version} {fitting.fit} {fitting.size} {fitting.resize} {len(self.source)} reduced"
        return open_disk_cache(example, length, budget_mb, key)

    def suit_pipeline(self) -> None:
        """Drop transforms that the first image does not support; before the workers start, to warn once."""
        if self.pipeline.transforms and self.indices:
            self.pipeline = self.pipeline.suited_to(self.kept(0).image, self.source.value_range)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key[1], (self.seed, *key)
        # seeded by the key: the same for any number of workers, and after a resume in mid-epoch
        if self.composition is None:
            raw = self.kept(index)
        else:
            stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_COMPOSING,)))
            raw = self.composition(index, stream, self.kept)
        if self.moving is None or self.staying is None or not self.moving.is_on(key[0]):
            return self._labelled(to_sample(self.pipeline.augment(raw, seed)), index)
        sample = self._labelled(to_sample(self.staying.augment(raw, seed)), index)
        sample["change"] = torch.from_numpy(self.moving.transforms.draw(sample["mask"].shape[-2:], seed))
        return sample

    def _labelled(self, sample: Sample, index: int) -> Sample:
        if self.source.image_labels:
            sample["label"] = self.source.image_labels[self.indices[index]]
        return sample

    def move_transforms(self, device: torch.device, placing: Placing) -> None:
        """Let the device do what it can of the transforms, now or once the workers prove too slow.

        Nothing moves where nothing can: transforms of other kinds, images that are not of 8 bits, or
        of several sizes.
        """
        fitting = self.pipeline.fitting
        one_size = fitting.size if self.composition or fitting.fit != "none" else None
        if one_size is None or not self.indices or (first := self.kept(0).image).dtype != np.uint8:
            return
        square = one_size[0] == one_size[1]
        stay, move = divide(self.pipeline.transforms, channels=first.shape[2], square=square)
        if move:
            self.staying = Pipeline(fitting, stay)
            self.moving = Moving(DeviceTransforms(move), device, placing)

    @cached_property
    def class_index(self) -> ClassIndex:
        """Where the classes are, of the samples as they are numbered here; the first access may read all masks."""
        return class_index(self.source).subset(self.indices)

    @property
    def blocks(self) -> NDArray[np.integer] | None:
        """The block that each sample lies in, ``(N,)``, as samples are numbered here; None without blocks."""
        if self.source.blocks is None:
            return None
        if (found := len(self.source.blocks)) != len(self.source):
            raise DataError(f"data: {found} blocks for {len(self.source)} images, expected that of each; correct them")
        return np.asarray(self.source.blocks)[self.indices]

    def kept(self, index: int) -> RawSample:
        """Return the fitted sample of an index, from the cache if it is there."""
        if self.cache is None:
            return self._fitted(index)
        pair = self.cache.get(index)
        if pair is not None:
            return RawSample(*pair, self.source.ids[self.indices[index]])
        raw = self._fitted(index)
        self.cache.put(index, raw)
        return raw

    def _fitted(self, index: int) -> RawSample:
        fitting = self.pipeline.fitting
        return fitting(self.source.reduced(self.indices[index], fitting.least_size))


class OwnSizeDataset(AugmentedDataset):
    """Samples to be scored at their own size: the image fitted for the model, and the original mask."""

    def __getitem__(self, key: Key) -> Sample:
        fitting = self.pipeline.fitting
        # not from the cache, which has no original masks
        raw = self.source.reduced(self.indices[key[1]], fitting.least_size)
        sample = self._labelled(to_sample(fitting(raw)), key[1])
        sample["truth"] = torch.from_numpy(np.ascontiguousarray(raw.mask))
        sample["content"] = fitting.content_size(raw.mask.shape[-2:])
        return sample


class EpochBatches(Sampler[list[Key]]):
    """Sampler of batches of keys ``(epoch, index)``, shuffled by ``(seed, epoch)``, with seek to any batch.

    ``drop_last`` leaves out a last batch that is not full (BatchNorm fails on a single image), unless
    it is the only one. With ``weights``, shuffled indices are drawn by them: as many in an epoch, some
    several times. With ``blocks``, the block of each index, a shuffled order reads a few blocks at a time.

    Of ``ranks`` processes this is the batches of number ``rank``. Shuffled batches of all ranks together are
    those of one process whose batch size is ``ranks`` times as large; without shuffling they take turns with
    the batches that one process has, so that some may have one batch more.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        weights: NDArray[np.float64] | None = None,
        blocks: NDArray[np.integer] | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.weights, self.blocks = weights, blocks
        together = batch_size * ranks if shuffle else batch_size
        whole = length // together
        end = whole * together if drop_last and whole else length
        every = [(start, min(start + together, end)) for start in range(0, end, together)]
        own = [_share(*each, rank, ranks) for each in every] if shuffle else every[rank::ranks]
        self._places = [slice(*each) for each in own]  # of the batches in the order of an epoch
        self.epoch, self.first = 0, 0

    def start(self, epoch: int, batch: int = 0) -> None:
        """Seek: the next iteration begins at that batch of that epoch."""
        self.epoch, self.first = epoch, batch

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return len(self._places)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        order = self._order(epoch)
        before = None if self.weights is None else repeats(order)  # so that each draw is augmented otherwise
        for chosen in self._places[self.first :]:
            indices = order[chosen].tolist()
            again = [0] * len(indices) if before is None else before[chosen].tolist()
            yield [
                (epoch, index, count) if count else (epoch, index) for index, count in zip(indices, again, strict=True)
            ]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of an epoch in their order; no state to save for a resume."""
        order = np.arange(self.length)
        if not self.shuffle:
            return order
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is not None:
            order = drawn(self.weights, rng)
        else:
            rng.shuffle(order)
        return order if self.blocks is None or not len(order) else gathered(order, self.blocks, rng)


def _share(start: int, end: int, rank: int, ranks: int) -> tuple[int, int]:
    """Return the part of a batch that is one rank's, as even as can be."""
    return start + (end - start) * rank // ranks, start + (end - start) * (rank + 1) // ranks


def collate(samples: list[Sample]) -> Batch:
    """Stack samples to a batch; smaller ones are padded below and to the right with ignored pixels."""
    channels = samples[0]["image"].shape[0]
    height, width = (max(sample["mask"].shape[axis] for sample in samples) for axis in (-2, -1))
    # (N, H, W, C) in memory, viewed as (N, C, H, W), which is what channels_last means
    images = samples[0]["image"].new_zeros((len(samples), height, width, channels)).permute(0, 3, 1, 2)
    classes = samples[0]["mask"].shape[:-2]  # (C,) of a multilabel task, else ()
    masks = torch.full((len(samples), *classes, height, width), IGNORE_INDEX, dtype=torch.uint8)
    for sample, image, mask in zip(samples, images, masks, strict=True):  # views, filled in place
        rows, columns = sample["mask"].shape[-2:]
        image[:, :rows, :columns] = sample["image"]
        mask[..., :rows, :columns] = sample["mask"]
    batch: Batch = {"image": images, "mask": masks, "id": [sample["id"] for sample in samples]}
    if "label" in samples[0]:
        batch["label"] = torch.tensor([sample["label"] for sample in samples])
    if "change" in samples[0]:
        batch["change"] = torch.stack([sample["change"] for sample in samples])
    if "truth" in samples[0]:
        batch["truth"] = [sample["truth"] for sample in samples]
        batch["content"] = [sample["content"] for sample in samples]
    return batch


def make_loader(
    dataset: AugmentedDataset,
    batches: EpochBatches,
    *,
    num_workers: int,
    pin_memory: bool = False,
    timeout: int = 0,
) -> DataLoader[Batch]:
    """Make a DataLoader over ``batches``; iterating draws nothing from the global random generators.

    Workers are forked where the system can: they start at once, and share the source and its cache.
    That is safe, as they use neither CUDA nor any thread pool of the parent. ``timeout`` is how many
    seconds to wait for a batch of theirs; 0: for ever.
    """
    forks = num_workers > 0 and "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        timeout=timeout if num_workers else 0,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if forks else None,
        persistent_workers=num_workers > 0,
        prefetch_factor=PREFETCH if num_workers else None,  # torch refuses a number without workers
        generator=torch.Generator(),  # without one, every iteration draws a seed from the global generator
    )


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Iterate over a loader; errors in a worker are raised as a `DataError` of one line, as without workers."""
    try:
        with _sigterm_blocked():
            iterator = iter(loader)
        yield from iterator
    except (DataError, RuntimeError) as error:
        if _TIMED_OUT in str(error):
            _end_by_force(loader)
        raise explain(error) from None


def _end_by_force(loader: DataLoader[Batch]) -> None:
    """Kill workers of which one hangs: the process would wait for it at its own end."""
    iterator: Any = loader._iterator
    torch._C._remove_worker_pids(id(iterator))  # or their end would be reported as another error
    iterator._worker_pids_set = False
    for worker in iterator._workers:
        worker.kill()


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Block SIGTERM while workers start, so that they and all their threads inherit the block."""
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def explain(error: Exception) -> Exception:
    """Turn torch's error for a failed worker into a `DataError` of one line; return others unchanged.

    torch reports a killed worker from a signal handler, so the error can surface anywhere in the main
    thread.
    """
    message = _one_line(error)
    if message is None:
        return error
    # the traceback is in a cycle with torch's frames: if workers are freed through it, ending takes 5 s
    error.__traceback__ = None
    return DataError(message)


def _one_line(error: Exception) -> str | None:
    """Return the message to show for a worker's failure; None where the error is of another kind."""
    text = str(error)
    if isinstance(error, DataError):
        # torch's message is the worker's traceback; the original message follows the exception's name
        return text.rpartition(f"{DataError.__module__}.{DataError.__qualname__}: ")[2].strip()
    if any(sign in text for sign in SHARED_MEMORY_SIGNS):
        return "data: the loader's workers ran out of shared memory (/dev/shm); set data.num_workers=0"
    if _TIMED_OUT in text:
        return (
            f"data: no batch came from the loader's workers for {re.sub('[^0-9]', '', text)} s "
            "(data.worker_timeout): one hangs, as on a file of a network drive that is away; bring it back, or raise "
            "data.worker_timeout"
        )
    if re.search(r"DataLoader worker \(pid.* (killed|exited)", text):
        return (
            "data: a worker of the loader was killed, most likely because memory ran out; "
            "set data.num_workers=0, or a smaller data.batch_size or data.cache_mb"
        )
    return None


def _start_worker(_number: int) -> None:
    """Set up a worker: one thread, low priority, and signals left to the main process."""
    cv2.setNumThreads(0)  # not 1: that waits for threads which did not survive the fork
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group
    queues.Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _send_error(queue: Any, _error: Exception, item: tuple[Any, ...]) -> None:
    """Send an error in place of a batch that cannot be sent, as where /dev/shm is full.

    By itself the queue prints it, and the main process waits for the batch.
    """
    if isinstance(item[1], ExceptionWrapper):  # that could not be sent either
        os._exit(1)
    queue.put((item[0], ExceptionWrapper(where="in a worker of the loader")))  # type: ignore[no-untyped-call]


def _end_with_the_parent() -> None:
    """End the worker at a SIGTERM from the parent alone.

    Batch systems and `timeout` signal all processes at once; the main process then still needs its
    batch, to finish the step and save a checkpoint.
    """
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)  # not sys.exit, which in a thread ends that thread alone
