"""What is measured is what trains: the trainer on noise, and the feed."""

from functools import partial

import pytest
import torch

from segtrain.build.parts import checked_config, open_source
from segtrain.build.tuning import measure
from segtrain.build.tuning.measure import Kind, epochs_of, job_of_noise, measure_loader, measure_step, read, seconds_for
from segtrain.config.compose import compose
from segtrain.data.formats.shapes import CLASS_NAMES
from segtrain.errors import ShortOfMemoryError
from tests.conftest import TINY


@pytest.fixture(autouse=True)
def _malloc_as_it_was(monkeypatch):
    monkeypatch.setattr(measure, "keep_freed_memory", lambda **_: None)


def job_and_kind(*words):
    job = compose("train", [*TINY, *words]).job
    config = checked_config(job)
    return job, Kind.of(config, open_source(config, "train"))


def test_noise_is_of_the_kind_of_the_images():
    job, kind = job_and_kind("data.image_size=[32,64]")
    assert kind.class_names == CLASS_NAMES
    assert (kind.channels, kind.dtype, kind.count, kind.size) == (3, "uint8", 40, None)
    assert kind.sample_bytes == 32 * 64 * 4
    config = checked_config(job_of_noise(job, kind))
    source = open_source(config, "train")
    image, mask, _ = source[0]
    assert image.shape == (32, 64, 3)
    assert set(mask.ravel().tolist()) == set(range(len(CLASS_NAMES)))
    assert len(source) == 4


def test_images_of_their_own_size_are_measured_at_that():
    _, kind = job_and_kind("data.fit=none", "data.size=48")
    assert kind.size == (48, 48)


def test_a_step_is_measured_with_all_that_the_config_trains_with(tmp_path):
    job, kind = job_and_kind(
        "trainer.grad_accum_steps=2", "trainer.ema_decay=0.9", "loss.class_weights=auto", "augment=heavy"
    )
    found, facts = measure_step(job, kind, tmp_path, 0.0, saves=True)
    assert found.rate > 0
    assert found.peak > 2**20
    assert facts.normalised
    assert facts.device == torch.device("cuda" if torch.cuda.is_available() else "cpu").type


def test_steps_that_run_out_of_memory_are_no_measurement(monkeypatch, tmp_path):
    from segtrain.inference.network import Network

    plain = Network.__call__

    def short(self, images, *more, **named):
        if len(images) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, images, *more, **named)

    monkeypatch.setattr(Network, "__call__", short)
    with pytest.raises(ShortOfMemoryError):
        measure_step(*job_and_kind(), tmp_path, 0.0, saves=False)


def test_a_loader_is_measured_over_the_epochs_of_the_training():
    job, _ = job_and_kind("data.num_workers=1")
    assert measure_loader(job, 0.1).rate > 0


def test_reading_ends_with_the_time_or_the_images():
    batch = {"image": torch.zeros(4, 3, 8, 8)}
    assert read(iter([batch] * 3), seconds=60)[0] == 3
    assert read(iter([batch] * 3), seconds=0)[0] == 1


def test_epochs_are_those_of_the_config_or_of_its_steps():
    def config(*words):
        return checked_config(compose("train", [*TINY, "trainer.epochs=3", *words]).job)

    assert epochs_of(config(), batches=10) == 3
    assert epochs_of(config("trainer.max_steps=15", "trainer.grad_accum_steps=2"), batches=10) == 3


@pytest.mark.gpu
def test_a_gpu_has_done_its_work_when_the_clock_is_read():
    device = torch.device("cuda")
    big = torch.randn(4096, 4096, device=device)
    once = seconds_for(1, partial(torch.mm, big, big), device)
    assert seconds_for(200, partial(torch.mm, big, big), device) > 20 * once / 10
