"""Data that fails in mid-run: what the user reads, and that no step is lost."""

import ctypes
import os
import shutil
import signal
import sys
import time
from multiprocessing import get_context
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

NOT_PERMITTED = 77
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


def test_shared_memory_that_is_too_small_ends_the_run_with_a_remedy(photos):
    process = get_context("forkserver").Process(target=with_little_shared_memory, args=(RUN,))
    process.start()
    process.join()
    said = Path("said").read_text()
    if process.exitcode == NOT_PERMITTED:
        pytest.skip(f"a small /dev/shm cannot be mounted here: {said}")
    assert process.exitcode == 2, said
    line = said[said.rindex("segtrain: ") :]
    if torch.__version__ < "2.7":  # its worker is killed for it, by a bus error
        assert "segtrain: data: a worker of the loader was killed" in line
    else:
        assert "data: the loader's workers ran out of shared memory (/dev/shm); set data.num_workers=0" in line
    assert said.count("segtrain: ") == 1
    assert "Traceback" not in said
    assert main(["resume", "run", "data.num_workers=0", "trainer.epochs=1"]) == 0


def with_little_shared_memory(words):
    """Run a command line where /dev/shm holds less than a batch of four images of 128x128."""
    descriptor = os.open("said", os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, private, recursive = 0x20000, 1 << 18, 1 << 14  # CLONE_NEWNS, MS_PRIVATE, MS_REC
    if (
        libc.unshare(new_mounts) != 0
        or libc.mount(b"none", b"/", None, ctypes.c_ulong(recursive | private), None) != 0
        or libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(0), b"size=200k") != 0
    ):
        os.write(2, os.strerror(ctypes.get_errno()).encode())
        os._exit(NOT_PERMITTED)
    sys.exit(main([*words, "data.image_size=128"]))


def test_a_run_folder_that_is_removed_ends_the_run_with_one_line(photos, monkeypatch, refused):
    after_step(monkeypatch, 2, lambda _trainer: shutil.rmtree("run"))
    assert refused(*RUN) == ["segtrain: run: was removed in mid-run, and nothing is kept; start again"]
    assert not Path("run").exists()


@pytest.fixture
def mount():
    """Mount what `mount` takes over a folder until the end of the test; skips it where that is not allowed."""
    mounted = []

    def do(options, folder):
        if os.geteuid() != 0 or os.system(f"mount {options} {folder} 2> /dev/null") != 0:
            pytest.skip("mounting is not allowed here")
        mounted.append(folder)

    yield do
    for folder in mounted:
        os.system(f"umount {folder}")


@pytest.mark.slow
def test_a_run_folder_that_becomes_read_only_ends_the_run_which_goes_on_where_it_can_be_written(
    photos, monkeypatch, refused, mount
):
    def forbid(_trainer):
        mount("--bind run", "run")
        assert os.system("mount -o remount,bind,ro run") == 0

    with monkeypatch.context() as patch:
        after_step(patch, 6, forbid)
        (line,) = refused(*RUN)
    assert line == (
        "segtrain: run: cannot be written (Read-only file system); its last checkpoint is kept; free space, then: "
        "segtrain resume run"
    )
    assert os.system("mount -o remount,bind,rw run") == 0
    assert saved_step() == 4
    assert main(["resume", "run", "trainer.epochs=2"]) == 0
    assert saved_step() == 8


def test_one_rank_of_several_saves_nothing_by_itself(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    trainer.world = World(rank=1, size=2)
    error = DataError("photos/1.png: no such file")
    assert saved_after(trainer, error) is error
    assert not trainer.checkpoints.last.exists()


def test_a_disk_that_is_full_ends_the_run_in_one_line_which_goes_on_with_room(photos, monkeypatch, refused, mount):
    Path("disk").mkdir()
    mount("-t tmpfs -o size=40m tmpfs", "disk")
    with monkeypatch.context() as patch:
        after_step(patch, 2, lambda _trainer: fill(Path("disk/filler")))
        (line,) = refused(*RUN[:-1], "data.num_workers=0", "hydra.run.dir=disk/run")
    assert line == (
        "segtrain: disk/run: cannot be written (No space left on device); its last checkpoint is kept; "
        "free space, then: segtrain resume disk/run"
    )
    Path("disk/filler").unlink()
    assert torch.load("disk/run/checkpoints/last.pt", weights_only=True)["state"]["step"] == 0
    assert main(["resume", "disk/run", "trainer.epochs=1"]) == 0


def fill(file):
    file.write_bytes(bytes(shutil.disk_usage(file.parent).free))
