"""`segtrain launch executor=ray` on a cluster of this machine alone."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segtrain.cli import main
from tests.commands.test_launch import SMALL, rows, run, same, start, state, wait_for_steps
from tests.pages import GUIDE, RAY_CLUSTER, RAY_JOB

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
WORDS = (*SMALL, "data.batch_size=4", "device=cpu")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The cluster of the guide: this machine."""
    folder = tmp_path_factory.mktemp("ray")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(
            shlex.split(RAY_CLUSTER), env=environment, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 90
    while "Ray runtime started" not in (folder / "log").read_text():
        assert head.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    yield
    head.send_signal(signal.SIGTERM)
    head.wait(60)


def test_two_workers_train_as_torchrun_lets_them(cluster, here):
    text = (GUIDE / "scaling.md").read_text(encoding="utf-8")
    assert f"{RAY_CLUSTER}\n{RAY_JOB}\n" in text
    words = shlex.split(RAY_JOB)[1:]
    code, said = run(*words)
    assert code == 0, said
    assert "2 processes, " in said
    alone = [word for word in words if not word.startswith(("executor=", "hydra.run.dir="))]
    assert run(*alone, "hydra.run.dir=torchrun")[0] == 0
    assert same(state("outputs/ray"), state("torchrun"))


def test_a_mistake_and_its_exit_code_come_back(cluster, tmp_path):
    code, said = run("launch", "executor=ray", "nproc=2", *WORDS, "data.root=none")
    assert code == 2
    assert "data.root" in said


def test_a_launch_that_is_stopped_saves_first(cluster, tmp_path):
    words = [*WORDS, "trainer.max_steps=2000", f"hydra.run.dir={tmp_path}/run"]
    process = start("launch", "executor=ray", "nproc=2", *words)
    wait_for_steps(tmp_path / "run", 3, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0
    import torch

    saved = torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["state"]["step"]
    assert saved == rows(tmp_path / "run")[-1]["step"] > 0


def test_without_a_cluster_the_remedy_is_told(monkeypatch, capsys):
    import ray

    def refuse(**_):
        raise ConnectionError("Could not find any running Ray instance.")  # as Ray has it

    monkeypatch.setattr(ray, "init", refuse)
    assert main(["launch", "executor=ray", "nproc=2", *WORDS]) == 2
    told = "segtrain: executor=ray: this machine belongs to no cluster; run ray start --head first\n"
    assert capsys.readouterr().err == told
