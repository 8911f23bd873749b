"""Data that fails in mid-run: what the user reads, and that no step is lost."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain.cli import main
from segtrain.data import Folder
from segtrain.errors import DataError
from segtrain.runtime.world import World
from segtrain.training.failures import saved_after
from segtrain.training.trainer import Trainer
from tests.training.test_trainer import batch, make_trainer

RUN = (
    "data=folder",
    "data.root=photos",
    "data.classes=[background,cat]",
    "data.image_size=32",
    "data.batch_size=4",
    "data.cache=none",
    "data.num_workers=1",
    "encoder=test_resnet",
    "encoder.weights=null",
    "arch.channels=[32,16,16,8,8]",
    "logger=none",
    "trainer.epochs=4",
    "checkpoint.every_minutes=null",
    "hydra.run.dir=run",
)


@pytest.fixture
def photos(here):
    """Twenty photos, of which sixteen are trained on."""
    rng = np.random.default_rng(0)
    for kind, high in (("images", 256), ("masks", 2)):
        Path("photos", kind).mkdir(parents=True)
        for number in range(20):
            shape = (32, 32, 3) if kind == "images" else (32, 32)
            Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(f"photos/{kind}/{number}.png")


def after_step(monkeypatch, step, act):
    end_step = Trainer.end_step

    def stand_in(trainer, group):
        end_step(trainer, group)
        if trainer.state.step == step:
            act(trainer)

    monkeypatch.setattr(Trainer, "end_step", stand_in)


def delete_images(_trainer):
    for file in Path("photos/images").glob("*.png"):
        file.rename(f"{file}.away")


def kill_worker(trainer):
    (worker,) = trainer.train.loader._iterator._workers
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(1)


def saved_step():
    return torch.load("run/checkpoints/last.pt", weights_only=True)["state"]["step"]


def test_a_deleted_file_ends_the_run_after_a_whole_step_and_it_goes_on_once_the_file_is_back(
    photos, monkeypatch, refused
):
    with monkeypatch.context() as patch:
        after_step(patch, 5, delete_images)
        (line,) = refused(*RUN)
    step = saved_step()
    assert "photos/images/" in line
    assert line.endswith(f"; the run is saved at step {step}; then go on with: segtrain resume run")
    assert step >= 5, "of 4 in an epoch: what was read ahead is used"
    for file in Path("photos/images").glob("*.away"):
        file.rename(file.with_suffix(""))
    assert main(["resume", "run"]) == 0
    assert saved_step() == 16


def test_a_killed_worker_ends_the_run_with_a_remedy_and_the_last_checkpoint(photos, monkeypatch, refused):
    with monkeypatch.context() as patch:
        after_step(patch, 6, kill_worker)
        (line,) = refused(*RUN)
    assert "data: a worker of the loader was killed, most likely because memory ran out" in line
    assert saved_step() >= 4


def test_a_worker_that_hangs_ends_the_run_after_its_time(photos, monkeypatch, refused):
    read = Folder.reduced

    def hanging(source, index, least_size):
        if Path("hang").exists():
            time.sleep(600)
        return read(source, index, least_size)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "reduced", hanging)
        after_step(patch, 5, lambda _trainer: Path("hang").touch())
        (line,) = refused(*RUN, "data.worker_timeout=3")
    assert "data: no batch came from the loader's workers for 3 s (data.worker_timeout): one hangs" in line
    assert f"; the run is saved at step {saved_step()}; " in line
    assert saved_step() >= 5


def test_one_rank_of_several_saves_nothing_by_itself(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    trainer.world = World(rank=1, size=2)
    error = DataError("photos/1.png: no such file")
    assert saved_after(trainer, error) is error
    assert not trainer.checkpoints.last.exists()


def test_a_disk_that_is_full_ends_the_run_in_one_line_which_goes_on_with_room(photos, monkeypatch, refused):
    """A file system of its own, of 40 MiB, where that may be made."""
    if os.geteuid() != 0 or os.system("mkdir disk && mount -t tmpfs -o size=40m tmpfs disk 2>/dev/null") != 0:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        with monkeypatch.context() as patch:
            after_step(patch, 2, lambda _trainer: fill(Path("disk/filler")))
            (line,) = refused(*RUN[:-1], "hydra.run.dir=disk/run")
        assert line == (
            "segtrain: disk/run: cannot be written (No space left on device); its last checkpoint is kept; "
            "free space, then: segtrain resume disk/run"
        )
        Path("disk/filler").unlink()
        assert torch.load("disk/run/checkpoints/last.pt", weights_only=True)["state"]["step"] == 0
        assert main(["resume", "disk/run", "trainer.epochs=1"]) == 0
    finally:
        os.system("umount disk")
        shutil.rmtree("disk", ignore_errors=True)


def fill(file):
    file.write_bytes(bytes(shutil.disk_usage(file.parent).free))
