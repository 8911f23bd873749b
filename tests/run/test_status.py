"""What a run folder says of how far its run came."""

import json
import os
from dataclasses import asdict

import pytest

from segtrain.errors import ConfigError, Interrupted
from segtrain.run.folders import Lock
from segtrain.run.status import Noted, Status, noting, read_status


def noted():
    return Noted(steps=10, parameters=5, step=0)


def test_a_run_is_running_while_its_folder_is_held_and_then_finished(tmp_path):
    lock = Lock.take(tmp_path)
    now = noted()
    with noting(tmp_path, now, before=3.0, since=0.0):
        assert (read_status(tmp_path).state, read_status(tmp_path).seconds) == ("running", 3.0)
        now.step = 10
    lock.release()
    status = read_status(tmp_path)
    assert (status.state, status.step, status.steps, status.parameters) == ("finished", 10, 10, 5)
    assert status.seconds > 3


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (Interrupted("stopped", 2), "interrupted", ""),
        (KeyboardInterrupt(), "interrupted", ""),
        (ConfigError("lr: wrong\nand more"), "failed", "lr: wrong"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
    ],
)
def test_what_ends_a_run_early_is_its_state(tmp_path, error, state, said):
    with pytest.raises(type(error)), noting(tmp_path, noted(), before=0.0, since=0.0):
        raise error
    assert (read_status(tmp_path).state, read_status(tmp_path).error) == (state, said)


def test_a_killed_run_is_interrupted_and_its_time_is_that_until_its_last_checkpoint(tmp_path):
    running = Status(state="running", step=0, steps=10, parameters=5, seconds=3.0, started=100.0)
    (tmp_path / "status.json").write_text(json.dumps(asdict(running)))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.pt").touch()
    os.utime(tmp_path / "checkpoints" / "last.pt", (107.0, 107.0))
    status = read_status(tmp_path)
    assert (status.state, status.seconds) == ("interrupted", 10.0)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"state": "running"}'])
def test_a_damaged_file_is_none(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None
