"""Work in other processes: its result, and what is said of those that end otherwise."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from segtrain.build.tuning.processes import Failure, in_process
from segtrain.errors import ConfigError


def fail(error):
    raise error


def start_another_and_hang(file):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    file.write_text(str(child.pid))
    time.sleep(600)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_the_result_comes_back():
    assert in_process(partial(divmod, 7, 2), seconds=60) == (3, 1)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (partial(fail, MemoryError()), "out of memory"),
        (partial(fail, RuntimeError("CUDA out of memory. Tried")), "out of memory"),
        (partial(signal.raise_signal, signal.SIGKILL), "out of memory (killed by the system)"),
        (partial(signal.raise_signal, signal.SIGBUS), "ended by SIGBUS"),
        (partial(os._exit, 3), "ended with exit code 3"),
    ],
    ids=["no memory", "no memory on a GPU", "SIGKILL", "SIGBUS", "an exit code"],
)
def test_a_process_that_ends_otherwise_is_a_failure_with_a_reason(work, reason):
    assert in_process(work, seconds=60) == Failure(reason)


def test_a_mistake_of_the_user_s_is_one_and_a_bug_has_its_traceback():
    found = in_process(partial(fail, ConfigError("data: is wrong\nand more")), seconds=60)
    assert found.reason == "data: is wrong"
    assert isinstance(found.mistake, ConfigError)
    assert str(found.mistake) == "data: is wrong\nand more"
    bug = in_process(partial(fail, KeyError("x")), seconds=60)
    assert bug.reason == "failed: KeyError: 'x'"
    assert "Traceback" in bug.bug


def test_when_the_time_is_over_a_process_is_killed_with_those_it_started(tmp_path):
    file = tmp_path / "pid"
    found = in_process(partial(start_another_and_hang, file), seconds=3)
    assert found == Failure("took more than the 3 s left")
    for _ in range(100):
        if not is_alive(int(file.read_text())):
            break
        time.sleep(0.05)
    assert not is_alive(int(file.read_text()))
