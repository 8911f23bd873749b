import os
import signal
import subprocess
import time
from itertools import chain

import albumentations as A
import numpy as np
import pytest
import torch

from segtrain.data.class_index import read_index
from segtrain.data.formats.shapes import Shapes
from segtrain.data.loading.augment import Augment
from segtrain.data.loading.composition import Composition
from segtrain.data.loading.dataset import AugmentedDataset, EpochBatches, batches, collate, explain, make_loader
from segtrain.data.loading.transforms import Fitting, Pipeline, to_sample
from segtrain.data.sample import RawSample
from segtrain.errors import DataError
from segtrain.evaluation.ranks import in_turns

TRANSFORMS = [A.HorizontalFlip(p=0.5), A.Affine(rotate=(-30, 30), fill_mask=255, p=0.7), A.GaussNoise(p=0.3)]


MIXED = Augment(scale=(0.5, 2.0), cat_max_ratio=0.9, rare_crops=0.4, mosaic=0.4, cutmix=0.4, copy_paste=0.4)


def make_dataset(source=None, *, composed=False, **options):
    source = source or Shapes(split="train", size=32, train=22)
    pipeline = Pipeline(Fitting("stretch", 32), TRANSFORMS)
    dataset = AugmentedDataset(source, pipeline, seed=5, **options)
    if composed:
        dataset.composition = Composition(MIXED, pipeline.fitting, length=len(dataset), index=read_index(source))
    return dataset


def make_order(dataset, batch_size=4, shuffle=True, drop_last=True, weights=None):
    return EpochBatches(len(dataset), batch_size, seed=5, shuffle=shuffle, drop_last=drop_last, weights=weights)


def read(loader, order, epoch=0, batch=0):
    order.start(epoch, batch)
    return list(batches(loader))


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one["id"] == other["id"]
        assert one["image"].equal(other["image"])
        assert one["mask"].equal(other["mask"])


@pytest.mark.parametrize("composed", [False, True])
def test_workers_and_cache_change_no_sample(composed):
    plain = make_dataset(composed=composed)
    reference = [
        read(make_loader(plain, order, num_workers=0), order, epoch)
        for order in [make_order(plain)]
        for epoch in (0, 1)
    ]
    assert not reference[0][0]["image"].equal(reference[1][0]["image"])
    for workers, cache_mb in ((0, 1), (2, 0), (2, 1)):
        dataset = make_dataset(composed=composed, cache_mb=cache_mb)
        order = make_order(dataset)
        loader = make_loader(dataset, order, num_workers=workers)
        for epoch in (0, 1, 0):
            assert_same(read(loader, order, epoch), reference[epoch])


@pytest.mark.parametrize("composed", [False, True])
def test_the_place_in_a_batch_does_not_change_a_sample(composed):
    dataset = make_dataset(composed=composed)
    alone = dataset[3, 7]
    order = make_order(dataset, batch_size=5, shuffle=False)
    batch = read(make_loader(dataset, order, num_workers=0), order, epoch=3)[1]
    assert batch["id"][2] == alone["id"]
    assert batch["image"][2].equal(alone["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_in_mid_epoch_gives_the_rest_and_reads_nothing_else(workers):
    dataset = make_dataset()
    order = make_order(dataset)
    loader = make_loader(dataset, order, num_workers=workers)
    whole = read(loader, order, epoch=2)
    assert_same(read(loader, order, epoch=2, batch=3), whole[3:])
    order.start(2, 3)
    assert [key for batch in order for key in batch] == [(2, int(key)) for key in _order_of(order, 2)[12:20]]


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_in_mid_epoch_gives_the_rest_of_composed_and_weighted_samples(workers):
    dataset = make_dataset(composed=True, cache_mb=1)
    order = make_order(dataset, weights=np.arange(22.0))
    whole = read(make_loader(dataset, order, num_workers=0), order, epoch=2)
    assert_same(read(make_loader(dataset, order, num_workers=workers), order, epoch=2, batch=3), whole[3:])


def test_a_sample_that_comes_twice_in_an_epoch_is_augmented_otherwise():
    for composed in (False, True):
        dataset = make_dataset(composed=composed)
        first, again, third = dataset[0, 3], dataset[0, 3, 1], dataset[0, 3, 2]
        assert first["id"] == again["id"] == third["id"]
        assert not first["image"].equal(again["image"])
        assert not again["image"].equal(third["image"])


def _order_of(order, epoch):
    order.start(epoch)
    return [index for batch in order for _, index in batch]


def test_an_iteration_given_up_leaves_no_batch_behind():
    dataset = make_dataset()
    order = make_order(dataset)
    loader = make_loader(dataset, order, num_workers=2)
    order.start(0)
    next(batches(loader))
    assert_same(read(loader, order, epoch=1), read(make_loader(dataset, order, num_workers=0), order, epoch=1))


def test_an_epoch_visits_every_sample_once_in_an_order_of_its_own():
    order = EpochBatches(50, 7, seed=0, shuffle=True, drop_last=False)
    first, second = _order_of(order, 0), _order_of(order, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first == _order_of(EpochBatches(50, 7, seed=0, shuffle=True, drop_last=False), 0)
    assert first != _order_of(EpochBatches(50, 7, seed=1, shuffle=True, drop_last=False), 0)


@pytest.mark.parametrize(("length", "drop_last", "sizes"), [(10, True, [4, 4]), (10, False, [4, 4, 2]), (3, True, [3])])
def test_a_partial_batch_is_dropped_unless_it_is_the_only_one(length, drop_last, sizes):
    order = EpochBatches(length, 4, seed=0, shuffle=True, drop_last=drop_last)
    assert [len(batch) for batch in order] == sizes
    assert len(order) == len(sizes)


@pytest.mark.parametrize(("length", "ranks"), [(50, 2), (50, 3), (5, 4), (8, 8)])
def test_ranks_share_out_the_batches_of_one_process(length, ranks):
    together = list(EpochBatches(length, 2 * ranks, seed=3, shuffle=True, drop_last=True))
    parts = [
        list(EpochBatches(length, 2, seed=3, shuffle=True, drop_last=True, rank=rank, ranks=ranks))
        for rank in range(ranks)
    ]
    assert [list(chain(*each)) for each in zip(*parts, strict=True)] == together
    assert all(batch for part in parts for batch in part)


@pytest.mark.parametrize(("length", "counts"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (7, [2, 1, 1]), (12, [2, 2, 2])])
def test_ranks_take_turns_with_the_batches_to_be_scored(length, counts):
    alone = list(EpochBatches(length, 2, seed=3, shuffle=False, drop_last=False))
    parts = [
        list(EpochBatches(length, 2, seed=3, shuffle=False, drop_last=False, rank=rank, ranks=3)) for rank in range(3)
    ]
    assert [len(part) for part in parts] == counts
    assert in_turns(parts) == alone


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_draws_nothing_from_the_global_generators(workers):
    dataset = make_dataset()
    order = make_order(dataset)
    loader = make_loader(dataset, order, num_workers=workers)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    read(loader, order)
    assert torch.get_rng_state().equal(before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)


def test_a_limit_takes_samples_from_all_over_the_source():
    dataset = make_dataset(limit=4)
    assert len(dataset) == 4
    assert [dataset[0, index]["id"] for index in range(4)] == [f"train-{index:05d}" for index in (0, 5, 11, 16)]
    assert len(make_dataset(limit=99)) == 22


class Counting(Shapes):
    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def test_a_cache_decodes_each_sample_once():
    source = Counting(split="train", size=32, train=22)
    dataset = make_dataset(source, cache_mb=1)
    dataset_reads = source.reads
    for epoch in range(3):
        for index in range(22):
            dataset[epoch, index]
    assert source.reads - dataset_reads == 22


def test_a_cache_too_small_for_all_keeps_what_fits():
    source = Counting(split="train", size=256, train=6)  # 256 KiB each
    dataset = AugmentedDataset(source, Pipeline(Fitting("stretch", 256)), seed=0, cache_mb=1)
    source.reads = 0
    for epoch in range(3):
        for index in range(6):
            dataset[epoch, index]
    assert source.reads == 4 + 3 * 2


def test_workers_fill_one_cache_for_all():
    dataset = make_dataset(cache_mb=1)
    order = make_order(dataset, drop_last=False)
    read(make_loader(dataset, order, num_workers=2), order)
    assert all(dataset.cache.get(index) is not None for index in range(len(dataset)))


def test_batches_are_uint8_in_channels_last_memory():
    dataset = make_dataset()
    batch = collate([dataset[0, index] for index in range(3)])
    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["mask"].shape == (3, 32, 32)
    assert batch["image"].dtype == batch["mask"].dtype == torch.uint8
    assert batch["id"] == ["train-00000", "train-00001", "train-00002"]


class Labelled(Shapes):
    image_classes = ("low", "high")
    image_labels = tuple(int(index >= 11) for index in range(22))


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_labels_of_images_go_with_their_samples(cache_mb):
    dataset = make_dataset(Labelled(split="train", size=32, train=22), cache_mb=cache_mb, limit=10)
    order = make_order(dataset, batch_size=5)
    seen = {}
    for batch in (
        batch for epoch in (0, 1) for batch in read(make_loader(dataset, order, num_workers=0), order, epoch)
    ):
        assert batch["label"].dtype == torch.int64
        seen |= dict(zip(batch["id"], batch["label"].tolist(), strict=True))
    assert len(seen) == 10
    assert seen == {name: int(int(name[-5:]) >= 11) for name in seen}


def test_data_without_labels_of_images_gives_batches_without():
    dataset = make_dataset()
    assert "label" not in collate([dataset[0, 0]])


def test_samples_of_several_sizes_are_filled_up_with_ignored_pixels():
    samples = [
        to_sample(RawSample(np.full((*size, 3), 9, np.uint8), np.ones(size, np.uint8), str(size)))
        for size in ((4, 6), (5, 3))
    ]
    batch = collate(samples)
    assert batch["image"].shape == (2, 3, 5, 6)
    assert batch["mask"][1].tolist() == [[1, 1, 1, 255, 255, 255]] * 5
    assert batch["image"][0, :, 4].eq(0).all()
    assert batch["image"][0, :, :4].eq(9).all()


class Damaged(Shapes):
    def __getitem__(self, index):
        if index == 9:
            raise DataError("images/cat_17.png: cannot be decoded: broken; restore or remove it")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_error_keeps_its_one_line_on_the_way_out_of_a_worker(workers):
    dataset = make_dataset(Damaged(split="train", size=32, train=22))
    order = make_order(dataset)
    with pytest.raises(DataError) as caught:
        read(make_loader(dataset, order, num_workers=workers), order)
    assert str(caught.value) == "images/cat_17.png: cannot be decoded: broken; restore or remove it"


class Suicidal(Shapes):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_a_data_error_with_a_remedy():
    dataset = make_dataset(Suicidal(split="train", size=32, train=22))
    order = make_order(dataset)
    with pytest.raises(DataError, match=r"worker .* was killed, .*memory ran out; set data\.num_workers=0"):
        read(make_loader(dataset, order, num_workers=1), order)


@pytest.mark.parametrize("sign", ["Unexpected bus error: Bus error.", "No space left on device (28)"])
def test_shared_memory_that_ran_out_is_named(sign):
    error = explain(RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {sign}"))
    assert isinstance(error, DataError)
    assert "/dev/shm" in str(error)
    assert "data.num_workers=0" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "mat1 and mat2 shapes cannot be multiplied",
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback:\nRuntimeError: a bug",
    ],
)
def test_bugs_keep_their_tracebacks_in_and_out_of_workers(text):
    error = RuntimeError(text)
    assert explain(error) is error


@pytest.fixture
def two_threads():
    """A pool of torch's, which every forked worker starts anew before any code of ours runs in it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_workers_outlive_signals_that_are_meant_for_the_main_process():
    dataset = make_dataset()
    order = make_order(dataset)
    loader = make_loader(dataset, order, num_workers=2)
    iterator = batches(loader)
    got = [next(iterator), next(iterator)]  # one of each worker: both are up
    for worker in 5 * loader._iterator._workers:
        subprocess.run(["kill", "-INT", str(worker.pid)], check=True)
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    time.sleep(0.2)
    assert all(worker.is_alive() for worker in loader._iterator._workers)
    assert len(got + list(iterator)) == 5


def test_workers_end_when_the_main_process_tells_them():
    dataset = make_dataset()
    loader = make_loader(dataset, make_order(dataset), num_workers=1)
    next(batches(loader))
    (worker,) = loader._iterator._workers
    iterator, loader._iterator = loader._iterator, None
    iterator._shutdown_workers()
    worker.join(5)
    assert not worker.is_alive()
