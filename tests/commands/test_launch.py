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
from tests import processes

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
    """Wait until a process that `start` or `tests.processes` has started has logged so many steps."""
    deadline = time.monotonic() + 120
    while len(rows(folder)) < count:
        assert process.is_alive() if hasattr(process, "is_alive") else process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    line = ("launch", f"nproc={ranks}", *words)
    # three are started as a user's are, by an interpreter for each, which takes a third of a minute to import all
    code, said = run(*line) if ranks == 3 else (0, processes.run(*line, output=tmp_path.with_suffix(".said")))
    assert code == 0, said
    assert said.count("run folder") == 1  # the first rank speaks for all
    assert f"{ranks} processes, {12 // ranks} images each a batch, 12 a step" in said
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


MEASURES = ("data.split=val", "data.batch_size=3", "eval.boundary=true", "eval.surface=true", "data.num_workers=0")


def test_the_scores_of_ranks_are_those_of_one_process_to_the_last_bit(alone, tmp_path):
    processes.run("eval", str(alone), *MEASURES, f"output={tmp_path}/1", output=tmp_path / "said")
    words = ["eval", str(alone), *MEASURES, f"output={tmp_path}/3"]  # batches: 2, 1, 1
    processes.run("launch", "nproc=3", *words, output=tmp_path / "said")
    assert reports(tmp_path / "3") == reports(tmp_path / "1")
    assert any(name.endswith("reliability.csv") for name in reports(tmp_path / "1"))


@pytest.mark.slow
def test_torchrun_itself_may_start_the_ranks(alone, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "segtrain"]
    command = [sys.executable, *launcher, "eval", str(alone), *MEASURES, f"output={tmp_path}/2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=240)
    processes.run("eval", str(alone), *MEASURES, f"output={tmp_path}/1", output=tmp_path / "said")
    assert reports(tmp_path / "2") == reports(tmp_path / "1")


@pytest.mark.parametrize("number", [signal.SIGUSR1, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_job_goes_on_as_if_it_had_not_been(number, tmp_path):
    words = ["launch", "nproc=2", *WITH_BATCHNORM, "data.batch_size=4", "trainer.epochs=2", "trainer.ema_decay=0.9"]
    processes.run(*words, f"hydra.run.dir={tmp_path}/whole", output=tmp_path / "said")
    process = processes.start(*words, f"hydra.run.dir={tmp_path}/stopped", output=tmp_path / "said")
    wait_for_steps(tmp_path / "stopped", 2, process)
    os.kill(process.pid, number)  # the launcher tells both
    process.join(120)
    assert process.exitcode == 128 + number
    said = (tmp_path / "said").read_text()
    assert said.count(f"{number.name}: finishing the step, then saving") == 1
    assert said.count(f"go on with: segtrain launch nproc=2 resume={tmp_path}/stopped") == 1
    assert "Traceback" not in said
    processes.run("launch", "nproc=2", f"resume={tmp_path}/stopped", output=tmp_path / "said")
    assert same(state(tmp_path / "stopped"), state(tmp_path / "whole"))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def job_whose_second_rank_is_killed(folder, *words):
    steps = ["data.batch_size=2", "trainer.max_steps=12", "checkpoint.every_steps=2", f"hydra.run.dir={folder}/run"]
    places = folder / "places"
    places.mkdir()
    process = processes.start("launch", "nproc=2", *SMALL, *steps, *words, output=folder / "said", places=places)
    wait_for_steps(folder / "run", 3, process)
    (second,) = places.glob("1-*")
    os.kill(int(second.name.partition("-")[2]), signal.SIGKILL)
    return process


def test_a_rank_that_dies_ends_the_job_with_one_line(tmp_path):
    process = job_whose_second_rank_is_killed(tmp_path)
    process.join(60)  # seconds in which it has to end
    assert process.exitcode == 128 + signal.SIGKILL
    said = (tmp_path / "said").read_text()
    told = [line for line in said.splitlines() if "was killed" in line]
    assert told == [
        "segtrain: rank 1 was killed by SIGKILL (if nobody did it, memory ran out); go on from the last checkpoint: "
        "segtrain launch ... resume=outputs/<name>/<time>"
    ]
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_rank_that_dies_is_started_again_with_the_others(tmp_path):
    process = job_whose_second_rank_is_killed(tmp_path, "restarts=1")
    process.join(240)
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 0, said
    assert "going on from" in said
    assert [row["step"] for row in rows(tmp_path / "run") if row["split"] == "train"] == list(range(1, 13))


def test_the_jobs_of_a_sweep_are_trained_by_all_ranks(tmp_path):
    # three batches to validate: the first rank has one more than the second
    words = [*WITH_BATCHNORM, "data.batch_size=4", "trainer.max_steps=1", f"hydra.sweep.dir={tmp_path}/sweep"]
    words.append("data.limit=8,1")  # one image is too few for two
    said = processes.run("launch", "-m", "nproc=2", *words, output=tmp_path / "said", code=1)
    assert said.count("segtrain: 1 of 2 jobs failed: 2; see above") == 1
    table = (tmp_path / "sweep/leaderboard.csv").read_text().splitlines()
    assert len(table) == 3
    assert "expected one each" in table[2]


def test_a_mistake_is_one_line(tmp_path, capsys):
    words = ["data=folder", f"data.root={tmp_path}/none", "data.classes=[a,b]"]
    for mistake in (words, ["arch._target_=segtrain.models.Unett"]):
        said = processes.run("launch", "nproc=2", *mistake, output=tmp_path / "said", code=2)
        assert said.count("segtrain: ") == 1
        assert "Traceback" not in said
    assert main(["launch", "nproc=0"]) == 2
    assert capsys.readouterr().err == "segtrain: nproc: expected at least 1 or one of auto, got 0\n"
