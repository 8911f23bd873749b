"""One run, one folder: two that start in the same second, and two that go on with one run."""

import os
import signal
import time

from segtrain.cli import main
from segtrain.commands import train
from segtrain.run.folders import Lock
from segtrain.run.plan import make_plan
from tests import processes
from tests.conftest import TINY

RUN = (*TINY, "data.train=8", "trainer.max_steps=2")


def test_two_runs_of_the_same_second_get_two_folders(here):
    first, second = (make_plan([*RUN, f"optimizer.lr={lr}"]) for lr in ("1e-3", "1e-5"))
    same = second.__class__(second.job, first.folder, second.overrides, folder_is_chosen=False)
    with train.claimed(first) as (one, _), train.claimed(same) as (other, _):
        assert one.folder == first.folder
        assert other.folder == first.folder.with_name(f"{first.folder.name}-2")
    train.train(first)
    train.train(same)
    folders = [first.folder, first.folder.with_name(f"{first.folder.name}-2")]
    assert [("1.0e-05" in (folder / "config.yaml").read_text()) for folder in folders] == [False, True]


def test_a_folder_that_another_run_writes_to_is_refused(here, refused):
    (here / "run").mkdir()
    lock = Lock.take(here / "run")
    (line,) = refused(*RUN, "hydra.run.dir=run")
    assert line.startswith(f"segtrain: run: process {os.getpid()} on ")
    assert line.endswith("is writing a run there; wait until it ends, or stop it")
    lock.release()
    assert list((here / "run").iterdir()) == []
    assert main([*RUN, "hydra.run.dir=run"]) == 0
    assert not list((here / "run").glob(".*"))


def test_a_run_that_goes_on_twice_at_once_is_refused_and_one_that_was_killed_is_not(here, refused):
    folder = here / "run"
    process = processes.start(*RUN, "trainer.max_steps=5000", f"hydra.run.dir={folder}", output=here / "printed")
    while not (folder / "checkpoints" / "last.pt").exists():
        assert process.is_alive(), (here / "printed").read_text()
        time.sleep(0.01)
    (line,) = refused(f"resume={folder}")
    assert f"process {process.pid} on " in line
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (folder / ".lock").exists()
    assert main([f"resume={folder}", "trainer.max_steps=2"]) == 0
    assert not (folder / ".lock").exists()


def test_a_lock_that_was_removed_while_waiting_for_it_is_taken_anew(tmp_path, monkeypatch):
    import fcntl

    flock = fcntl.flock
    seen = []

    def slow(descriptor, operation):
        if not seen:
            (tmp_path / ".lock").unlink()  # by the one who had it, between opening and locking
        seen.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    lock = Lock.take(tmp_path)
    assert len(seen) == 2
    assert Lock.take(tmp_path) is None
    lock.release()
