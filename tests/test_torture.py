"""Runs that are killed at random moments end as one that nobody killed: `scripts/torture.py`."""

import shutil
from pathlib import Path

import pytest

from scripts.torture import HITS, differences, torture
from segtrain.cli import main
from tests.conftest import TINY


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "ranks"), [(100, 1), (20, 2)])
def test_all_runs_end_bitwise_equal(runs, ranks, tmp_path):
    result = torture(tmp_path, runs=runs, ranks=ranks)
    assert result.differing == {}
    assert sum(result.kills.values()) >= runs
    if runs == 100:
        assert [hit for hit in HITS if hit != "end" and not result.kills[hit]] == []


def test_a_run_that_ends_otherwise_is_found(here):
    for name in ("a", "b"):
        assert main([*TINY, "data.train=8", "trainer.max_steps=1", f"seed={ord(name)}", f"hydra.run.dir={name}"]) == 0
    shutil.copytree("a", "same")
    assert differences(Path("a"), Path("same")) == []
    found = differences(Path("a"), Path("b"))
    assert any(line.startswith("weights: differs, sha256 ") for line in found)
    assert any(line.startswith("training losses: differs, ") for line in found)
    assert {"best.pt: model", "scores.json"} <= set(found)
    Path("same/checkpoints/best.pt").unlink()
    (line,) = differences(Path("a"), Path("same"))
    assert line.startswith("checkpoints: ['best.pt', ")
