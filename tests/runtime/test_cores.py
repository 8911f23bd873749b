import os

import pytest

from segtrain.runtime.cores import reading_workers, usable_cores

ALLOWED = len(os.sched_getaffinity(0))


def test_a_container_with_a_quota_of_one_core_has_one(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert usable_cores(tmp_path) == 1


def test_version_1_of_cgroups_says_its_quota_in_two_files(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == 1, "half a core is one"


@pytest.mark.parametrize("text", ["max 100000\n", "damaged", None])
def test_without_a_quota_the_cores_are_those_it_may_run_on(tmp_path, text):
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == ALLOWED


def test_workers_are_as_many_as_cores_up_to_eight_and_shared_by_ranks(monkeypatch):
    assert [reading_workers(cores) for cores in (1, 2, 6, 64)] == [1, 2, 6, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert [reading_workers(cores) for cores in (2, 8, 64)] == [1, 2, 8]
