"""Batches keep order and values on their way to the device, and none is read too early."""

from contextlib import contextmanager

import pytest
import torch

from segtrain.data.loading.copying import copied_aside

CPU = torch.device("cpu")


def batch(number):
    return {"image": torch.full((2, 3, 4, 4), number, dtype=torch.uint8), "mask": torch.ones(2, 4, 4), "id": ["a", "b"]}


class FakeCuda:
    """Stands for ``torch.cuda`` and notes what happens, in order."""

    def __init__(self):
        self.now, self.said = "steps", []

    def Stream(self, device):
        return "aside"

    @contextmanager
    def stream(self, stream):
        self.now = stream
        yield
        self.now = "steps"

    def current_stream(self, device):
        assert self.now == "steps"
        return self

    def wait_stream(self, stream):
        self.said.append(f"steps wait for {stream}")


@pytest.fixture
def cuda(monkeypatch):
    fake, to = FakeCuda(), torch.Tensor.to

    def copy(tensor, *places, **options):
        fake.said.append(f"copy {tuple(tensor.shape)} on {fake.now}, {options}")
        return to(tensor, *places, **options)

    monkeypatch.setattr(torch.Tensor, "to", copy)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda tensor, _: fake.said.append(f"keep {tuple(tensor.shape)}")
    )
    return fake


def test_order_and_values_stay(cuda):
    found = list(copied_aside(map(batch, range(3)), CPU, cuda))
    assert [int(one["image"][0, 0, 0, 0]) for one in found] == [0, 1, 2]
    assert all(torch.equal(one["mask"], torch.ones(2, 4, 4)) and one["id"] == ["a", "b"] for one in found)
    assert list(copied_aside(iter(()), CPU, cuda)) == []


def test_copies_run_aside_and_steps_wait_for_them(cuda):
    next(copied_aside(map(batch, range(3)), CPU, cuda))
    aside = "on aside, {'non_blocking': True}"
    copies = [f"copy (2, 3, 4, 4) {aside}", f"copy (2, 4, 4) {aside}"]
    assert cuda.said == [*copies, "steps wait for aside", "keep (2, 3, 4, 4)", "keep (2, 4, 4)"]


def test_no_batch_is_read_before_it_is_asked_for(cuda):
    read = []
    batches = copied_aside((read.append(number) or batch(number) for number in range(3)), CPU, cuda)
    next(batches)
    assert read == [0]


@pytest.mark.gpu
def test_values_on_a_gpu_are_those_of_the_cpu_while_it_is_busy():
    gpu = torch.device("cuda")
    pinned = [{**batch(number), "image": batch(number)["image"].pin_memory()} for number in range(20)]
    busy, sums = torch.rand(2048, 2048, device=gpu), []
    for one in copied_aside(iter(pinned), gpu):
        assert one["image"].device.type == "cuda"
        busy = busy @ busy / 1000
        sums.append(one["image"].long().sum())
    assert [int(value) for value in sums] == [96 * number for number in range(20)]
