"""`segtrain launch` trains one run on several processes, as one process would."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from segtrain.cli import main

SMALL = (
    "data=shapes",
    "data.image_size=32",
    "data.train=48",
    "data.val=11",
    "data.num_workers=0",
    "arch=fpn",
    "arch.dropout=0",  # each rank would drop out other channels
    "encoder=convnext_atto",  # no batch normalisation, whose statistics are those of a rank's images
    "encoder.weights=null",
    "loss=cross_entropy",
    "trainer.precision=fp32",
    "trainer.log_every=1",
    "logger=none",
)

WITH_BATCHNORM = (
    *(word for word in SMALL if not word.startswith(("arch", "encoder="))),
    "arch=unet",
    "encoder=test_resnet",
)


def start(*words):
    """Start a command line in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "segtrain", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def run(*words):
    """Run a command line to its end; returns its exit code and what it printed."""
    process = start(*words)
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


def rows(folder):
    file = Path(folder) / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def losses(folder):
    return [row["loss"] for row in rows(folder)]


def wait_for_steps(folder, count, process):
    deadline = time.monotonic() + 120
    while len(rows(folder)) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process):
    """The processes that a launcher has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if "-m\0segtrain" in Path(f"/proc/{child}/cmdline").read_text()]


def state(folder):
    payload = torch.load(Path(folder) / "checkpoints/last.pt", weights_only=True)
    return {name: payload[name] for name in ("model", "ema", "optimizer", "scaler", "random", "ranks", "running")}


def same(one, other):
    """Compare what a checkpoint holds, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def reports(folder):
    """Every file that an evaluation wrote but the one that names its own folder, by name."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process with batches of twelve."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert main([*SMALL, "data.batch_size=12", "trainer.max_steps=4", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_learn_and_score_as_one_process_does(ranks, alone, tmp_path):
    words = [*SMALL, f"data.batch_size={12 // ranks}", "trainer.max_steps=4", f"hydra.run.dir={tmp_path}/run"]
    code, said = run("launch", f"nproc={ranks}", *words)
    assert code == 0, said
    assert said.count("run folder") == 1  # the first rank speaks for all
    assert f"{ranks} processes, {12 // ranks} images each a batch, 12 a step" in said
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_scores_of_ranks_are_those_of_one_process_to_the_last_bit(alone, tmp_path):
    measures = ["data.split=val", "data.batch_size=3", "eval.boundary=true", "eval.surface=true", "data.num_workers=0"]
    assert main(["eval", str(alone), *measures, f"output={tmp_path}/1"]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", "-m", "segtrain"]
    command = [sys.executable, *launcher, "eval", str(alone), *measures, f"output={tmp_path}/3"]  # batches: 2, 1, 1
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=240)
    assert reports(tmp_path / "3") == reports(tmp_path / "1")
    assert any(name.endswith("reliability.csv") for name in reports(tmp_path / "1"))


def test_a_stopped_job_goes_on_as_if_it_had_not_been(tmp_path):
    words = [*WITH_BATCHNORM, "data.batch_size=4", "trainer.epochs=2", "trainer.ema_decay=0.9"]
    assert run("launch", "nproc=2", *words, f"hydra.run.dir={tmp_path}/whole")[0] == 0
    process = start("launch", "nproc=2", *words, f"hydra.run.dir={tmp_path}/stopped")
    wait_for_steps(tmp_path / "stopped", 2, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count(f"go on with: segtrain launch nproc=2 resume={tmp_path}/stopped") == 1
    assert run("launch", "nproc=2", f"resume={tmp_path}/stopped")[0] == 0
    assert same(state(tmp_path / "stopped"), state(tmp_path / "whole"))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def job_whose_second_rank_is_killed(folder, *words):
    steps = ["data.batch_size=2", "trainer.max_steps=12", "checkpoint.every_steps=2", f"hydra.run.dir={folder}"]
    process = start("launch", "nproc=2", *SMALL, *steps, *words)
    wait_for_steps(folder, 3, process)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    return process


def test_a_rank_that_dies_ends_the_job(tmp_path):
    process = job_whose_second_rank_is_killed(tmp_path / "run")
    process.communicate(timeout=60)  # seconds in which it has to end
    assert process.returncode == 128 + signal.SIGKILL


@pytest.mark.slow
def test_a_rank_that_dies_is_started_again_with_the_others(tmp_path):
    process = job_whose_second_rank_is_killed(tmp_path / "run", "restarts=1")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "going on from" in said
    assert [row["step"] for row in rows(tmp_path / "run") if row["split"] == "train"] == list(range(1, 13))


def test_the_jobs_of_a_sweep_are_trained_by_all_ranks(tmp_path):
    # three batches to validate: the first rank has one more than the second
    words = [*WITH_BATCHNORM, "data.batch_size=4", "trainer.max_steps=1", f"hydra.sweep.dir={tmp_path}/sweep"]
    code, said = run("launch", "-m", "nproc=2", *words, "data.limit=8,1")  # one image is too few for two
    assert code == 1
    assert said.count("segtrain: 1 of 2 jobs failed: 2; see above") == 1
    table = (tmp_path / "sweep/leaderboard.csv").read_text().splitlines()
    assert len(table) == 3
    assert "expected one each" in table[2]


def test_a_mistake_is_one_line(tmp_path, capsys):
    code, said = run("launch", "nproc=2", "data=folder", f"data.root={tmp_path}/none", "data.classes=[a,b]")
    assert code == 2, said
    assert said.count("segtrain: ") == 1
    assert "Traceback" not in said
    assert main(["launch", "nproc=0"]) == 2
    assert capsys.readouterr().err == "segtrain: nproc: expected at least 1 or one of auto, got 0\n"
