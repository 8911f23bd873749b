"""Speed and waiting, on a clock that the test winds by hand; a profile of a few steps."""

import time

import pytest
import torch

from segtrain.run.profiling import Clock, StepProfiler


@pytest.fixture
def now(monkeypatch):
    hands = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: hands[0])
    return hands


def test_speed_and_the_share_of_waiting_since_the_last_reading(now):
    clock = Clock()

    def slow_data():
        for number in range(3):
            now[0] += 1.0  # seconds until the data comes
            yield number

    for _ in clock.waiting(slow_data()):
        now[0] += 3.0  # seconds of work
        clock.images += 8
    assert clock.read() == {"images_per_second": 2.0, "data_share": 0.25, "seconds": 12.0}
    now[0] += 5.0
    clock.images += 10
    assert clock.read() == {"images_per_second": 2.0, "data_share": 0.0, "seconds": 5.0}


def test_a_profile_is_written_after_its_steps(tmp_path):
    with StepProfiler(2, tmp_path) as profiler:
        for _ in range(7):
            torch.ones(4).sum()
            profiler.step()
    assert "aten::sum" in (tmp_path / "profile.txt").read_text()
    assert (tmp_path / "trace.json").stat().st_size > 0


def test_without_steps_nothing_is_written(tmp_path):
    with StepProfiler(0, tmp_path) as profiler:
        profiler.step()
    assert list(tmp_path.iterdir()) == []
