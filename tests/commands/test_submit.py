"""Trainings as jobs: submitit's local executor, and what is handed to Slurm."""

import csv
import os
import pickle
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from segtrain.cli import main
from tests.commands.test_launch import SMALL, losses, rows, run, same, state
from tests.pages import GUIDE, LOCAL_JOB

pytest.importorskip("submitit")
WORDS = (*(word for word in SMALL if not word.startswith(("arch", "encoder="))), "device=cpu")
TINY = (*WORDS, "arch=unet", "encoder=test_resnet", "data.batch_size=4")
LINE = shlex.split(LOCAL_JOB)[1:]
TRAINING = [word for word in LINE[1:] if not word.startswith(("executor=", "nproc=", "hydra.run.dir="))]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder for jobs of this machine, whose processes import what this one does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path


def tools(folder, monkeypatch, **scripts):
    """Make the programs that shell scripts describe, found before all others; returns their folder."""
    made = folder / "tools"
    made.mkdir()
    for name, text in scripts.items():
        (made / name).write_text(f"#!/bin/sh\n{text}\n")
        (made / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{made}{os.pathsep}{os.environ['PATH']}")
    return made


def wait_until(condition):
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing stopped, by torchrun."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, said = run("launch", "nproc=2", *TRAINING, f"hydra.run.dir={folder}")
    assert code == 0, said
    return folder


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_ends_as_if_it_had_not_been(here, whole):
    assert LOCAL_JOB in (GUIDE / "scaling.md").read_text(encoding="utf-8")
    assert main(LINE) == 0
    (pickled,) = Path("outputs/jobs").glob("*_submitted.pkl")
    job = pickled.name.partition("_")[0]  # the process that controls it
    wait_until(lambda: len(rows("outputs/local")) >= 2)
    for process in Path(f"/proc/{job}/task/{job}/children").read_text().split():
        os.kill(int(process), signal.SIGUSR2)
    printed = Path(f"outputs/jobs/{job}_0_log.out")
    wait_until(lambda: "Job completed successfully" in printed.read_text())
    assert "Requeued job" in printed.read_text()
    assert "going on from" in printed.read_text()
    assert same(state("outputs/local"), state(whole))
    assert losses("outputs/local") == losses(whole)


SBATCH = """
export SLURM_JOB_ID=12 SLURM_NTASKS=2 SLURM_JOB_NUM_NODES=1
cp "$1" submitted.sh
setsid sh submitted.sh > /dev/null 2>&1 &
echo Submitted batch job 12
"""
SRUN = """
shift; output=$(echo "$2" | sed s/%j/12/); shift 3
while true; do
    rm -f requeued
    for task in 0 1; do
        SLURM_PROCID=$task SLURM_LOCALID=$task "$@" >> "$(echo "$output" | sed s/%t/$task/)" 2>&1 & echo $! >> tasks
    done
    wait
    [ -e requeued ] || break
done
"""


@pytest.mark.slow
def test_a_job_that_slurm_preempts_ends_as_if_it_had_not_been(here, whole, monkeypatch):
    # Slurm's part is played by a shell
    tools(here, monkeypatch, sbatch=SBATCH, srun=SRUN, scontrol='echo "$@" > requeued')
    assert main(["launch", "executor=slurm", "nproc=2", *TRAINING, "hydra.run.dir=run"]) == 0
    wait_until(lambda: len(rows("run")) >= 2)
    for process in map(int, Path("tasks").read_text().split()):
        os.kill(process, signal.SIGTERM)  # Slurm sends one after the other
        os.kill(process, signal.SIGUSR2)
    printed = Path("outputs/jobs/12_0_log.out")
    wait_until(lambda: "Job completed successfully" in printed.read_text())
    assert "going on from" in printed.read_text()
    assert same(state("run"), state(whole))


@pytest.mark.slow
def test_a_sweep_of_jobs_is_awaited_and_ranked(here, monkeypatch, capfd):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)  # of the one that fails
    training = [word for word in TINY if word != "device=cpu"]
    words = ["launch", "-m", "executor=local", "nproc=1", "jobs=2", *training, "trainer.max_steps=1"]
    assert main([*words, "hydra.sweep.dir=sweep", "device=cpu,mps"]) == 1
    assert "1 of 2 jobs failed: 2" in capfd.readouterr().err
    with Path("sweep/leaderboard.csv").open() as file:
        best, failed = csv.DictReader(file)
    assert float(best["iou"]) >= 0
    assert (best["job"], failed["job"]) == ("1", "2")
    printed = Path(failed["error"].partition("see ")[2]).read_text()
    assert "segtrain: device=mps: this machine has no such device" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_the_same_line_submits_what_is_not_finished(here, monkeypatch, capfd):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)  # of the one that fails
    training = [word for word in TINY if word != "device=cpu"]
    words = ["launch", "-m", "executor=local", "nproc=1", *training, "trainer.max_steps=1", "device=cpu,mps"]
    assert main(words) == main(words) == 1
    said = capfd.readouterr()
    assert "1 finished, 1 interrupted" in said.out
    assert said.out.count("prints to") == 3
    (folder,) = (path for path in Path("outputs/sweeps").iterdir() if path.is_dir())
    with (folder / "leaderboard.csv").open() as file:
        best, _ = csv.DictReader(file)
    assert float(best["seconds"]) > 0


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster that takes every job and starts none, seen from its login node."""
    monkeypatch.chdir(tmp_path)
    return tools(tmp_path, monkeypatch, sbatch="echo Submitted batch job 12", srun="exit 1")


def flags(job="12"):
    lines = Path(f"outputs/jobs/{job}_submission.sh").read_text().splitlines()
    return {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}, lines


def test_slurm_gets_the_processes_the_time_and_its_own_options(slurm):
    options = "slurm={account: lab, mem: 64G, cpus_per_task: 8}"
    training = [word for word in TINY if word != "device=cpu"]
    words = ["launch", "executor=slurm", "nodes=2", "nproc=4", "partition=gpu", "time=90", options]
    assert main([*words, *training, "name=street"]) == 0
    asked, lines = flags()
    assert {"nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "time=90", "partition=gpu"} <= asked
    assert {"account=lab", "mem=64G", "cpus-per-task=8", "requeue", "signal=USR2@90"} <= asked
    assert "--kill-on-bad-exit=1" in lines[-1]
    job = pickle.loads(Path("outputs/jobs/12_submitted.pkl").read_bytes()).function
    assert job.words == (*training, "name=street")
    assert job.sharing == 1


def test_a_job_on_the_cpu_asks_for_no_gpus(slurm):
    assert main(["launch", "executor=slurm", "nproc=2", *TINY]) == 0
    assert not any("gpu" in flag for flag in flags()[0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["nproc=2", "slurm={acount: lab}"],
            "slurm.acount: no option of sbatch that is known, did you mean 'account'?",
        ),
        (["nproc=2", "slurm={time: 5}"], "slurm.time: has a key of its own; write time=..."),
        (["nproc=auto"], "nproc=auto: other machines than this one run it, expected a number; write nproc=4, say"),
        (["nproc=2", "optimizer.lr=-1"], "optimizer.lr: expected more than 0, got -1"),
        (["nproc=2", "archh=fpn"], "archh: unknown key"),
        (["nproc=2", "eval"], "eval: only trainings can be submitted; leave executor out, or call eval alone"),
    ],
)
def test_a_mistake_is_found_before_anything_waits_in_a_queue(words, told, slurm, capsys):
    last = [word for word in words if word == "eval"]
    words = [word for word in words if word not in last]
    assert main(["launch", *last, "executor=slurm", *words, "data=shapes"]) == 2
    assert told in capsys.readouterr().err
    assert not Path("outputs/jobs").exists()


def test_what_slurm_refuses_is_said_in_its_words(slurm, capsys):
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gqu' >&2\nexit 1\n")
    assert main(["launch", "executor=slurm", "nproc=2", "partition=gqu", *TINY]) == 2
    said = capsys.readouterr().err
    assert "executor=slurm: sbatch refused the job" in said
    assert "invalid partition specified: gqu" in said
    assert "Traceback" not in said


def test_without_slurm_the_remedy_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["launch", "executor=slurm", "nproc=2", *TINY]) == 2
    assert "executor=slurm: this machine has no sbatch and srun" in capsys.readouterr().err


def test_launchers_of_hydra_lead_to_what_is_here(capsys):
    assert main(["-m", "hydra/launcher=submitit_slurm", "arch=unet,fpn"]) == 2
    assert "write segtrain launch -m executor=slurm|local jobs=4" in capsys.readouterr().err


@pytest.fixture
def in_slurm(monkeypatch, tmp_path):
    """The environment of a job's only process."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # to be put back
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    values = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "node[3-4]"}
    for name, value in {**values, "SLURM_NTASKS": "8", "SLURM_JOB_NUM_NODES": "2", "SLURM_PROCID": "5"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "29500")
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def a_job_that(monkeypatch, ends):
    from segtrain.commands import job

    slept = []
    monkeypatch.setattr(job.time, "sleep", slept.append)
    monkeypatch.setattr(job, "run_command_line", lambda words: ends())
    return job.TrainingJob(["name=street"], name="abc", sharing=1), slept


def test_a_process_of_a_job_joins_by_the_environment_of_torchrun(in_slurm, monkeypatch):
    job, _ = a_job_that(monkeypatch, lambda: 0)
    job()
    names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID")
    assert [os.environ[name] for name in names] == ["node3", "29500", "5", "8", "abc"]


def test_a_job_that_slurm_ends_waits_for_it_so_that_it_is_queued_again(in_slurm, monkeypatch):
    job, slept = a_job_that(monkeypatch, lambda: 128 + signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        job()
    assert ended.value.code == 128 + signal.SIGTERM
    assert slept
    job, slept = a_job_that(monkeypatch, lambda: 2)  # a mistake is none of Slurm's
    with pytest.raises(SystemExit):
        job()
    assert not slept


def test_a_preemption_stops_the_loop_and_is_handed_on_when_it_is_saved(in_slurm, monkeypatch):
    came = []
    signal.signal(signal.SIGUSR1, lambda *_: came.append("stop"))
    signal.signal(signal.SIGUSR2, lambda *_: came.append("queue again"))

    def ends():
        signal.raise_signal(signal.SIGUSR2)
        came.append("saved")
        return 128 + signal.SIGUSR1

    job, _ = a_job_that(monkeypatch, ends)
    with pytest.raises(SystemExit):
        job()
    assert came == ["stop", "saved", "queue again"]
    assert not job.checkpoint().function.is_preempted
