"""A killed run goes on as if it had never stopped: bit for bit, through the real command line."""

import json
import os
import random
import re
import signal
import time

import pytest
import torch

from tests import processes
from tests.conftest import TINY

SPEED = {"images_per_second", "data_share", "seconds"}
RECIPE = (
    *TINY,
    "arch=fpn",  # its decoder drops out
    "augment=standard",
    "augment.scale=[0.7,1.4]",
    "augment.rare_crops=0.3",  # images are drawn, cut and mixed by chance too
    "augment.mosaic=0.3",
    "augment.cutmix=0.3",
    "augment.mixup=0.5",
    "augment.copy_paste=0.3",
    "data.sampling=class_balanced",
    "trainer.epochs=2",
    "trainer.grad_accum_steps=2",
    "trainer.ema_decay=0.9",
    "trainer.log_every=1",
    "checkpoint.every_steps=3",  # of 5 in an epoch: resumes start in mid-epoch
)


def run(folder, *overrides):
    processes.run(*RECIPE, *overrides, f"hydra.run.dir={folder}", output=folder.with_suffix(".out"))


def lines(folder):
    file = folder / "metrics.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def signal_after(folder, *overrides, after_step, number):
    """Start a run, and send it a signal as soon as it has logged that step; returns its exit code."""
    process = processes.start(*RECIPE, *overrides, f"hydra.run.dir={folder}", output=folder.with_suffix(".out"))
    while not any(f'"step": {after_step},' in line for line in lines(folder)):
        assert process.is_alive(), folder.with_suffix(".out").read_text()
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def resume(folder, *overrides):
    return processes.run(f"resume={folder}", *overrides, output=folder.with_suffix(".resumed.out"))


def metrics(folder):
    entries = [json.loads(line) for line in lines(folder)]
    return [{key: value for key, value in entry.items() if key not in SPEED} for entry in entries]


def final_state(folder):
    payload = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    payload["state"].pop("log_bytes")  # the log holds speeds, which have more or fewer digits
    payload["config"].pop("resume")
    return payload


def assert_same(first, second, where=""):
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), f"{where} differs by {(first.double() - second.double()).abs().max()}"
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}.{number}")
    else:
        assert first == second, where


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "whole"
    run(folder)
    return folder


@pytest.mark.parametrize(
    ("precision", "workers"),
    [
        ("fp32", 2),
        pytest.param("bf16", 0, marks=pytest.mark.slow),
        ("fp16", 0),
        pytest.param("fp32", 0, marks=pytest.mark.slow),
        pytest.param("bf16", 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_in_mid_epoch_ends_as_one_that_never_stopped(tmp_path, precision, workers):
    epochs = 1 if precision == "fp16" else 2  # on a CPU it is slow
    options = (f"trainer.precision={precision}", f"data.num_workers={workers}", f"trainer.epochs={epochs}")
    run(tmp_path / "whole", *options)
    step = random.choice([4, 6, 7, 8][: 3 * epochs - 2])
    assert signal_after(tmp_path / "killed", *options, after_step=step, number=signal.SIGKILL) == -signal.SIGKILL
    resume(tmp_path / "killed")
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"), f"killed after {step}")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    assert len(metrics(tmp_path / "whole")) == epochs * (5 + 1)
    scores = [json.loads((tmp_path / name / "scores.json").read_text()) for name in ("whole", "killed")]
    assert scores[0] == scores[1]


def test_workers_do_not_change_the_result(tmp_path):
    run(tmp_path / "none", "data.num_workers=0", "trainer.epochs=1")
    run(tmp_path / "two", "data.num_workers=2", "trainer.epochs=1")
    assert metrics(tmp_path / "none") == metrics(tmp_path / "two")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_names_the_resume_command(whole, tmp_path, number, code):
    stopped = tmp_path / "stopped"
    assert signal_after(stopped, after_step=4, number=number) == code
    found = re.search(r"segtrain resume (\S+)", stopped.with_suffix(".out").read_text())
    assert found
    processes.run("resume", found[1], output=tmp_path / "resumed.out")
    assert_same(final_state(whole), final_state(stopped))
    assert metrics(whole) == metrics(stopped)


def test_a_truncated_last_checkpoint_falls_back_on_the_one_before(whole, tmp_path):
    folder = tmp_path / "run"
    signal_after(folder, after_step=7, number=signal.SIGKILL)
    last = folder / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:-1000])
    assert "last.pt: is truncated or damaged" in resume(folder)
    assert_same(final_state(whole), final_state(folder))
    assert metrics(whole) == metrics(folder)


def test_overrides_apply_on_top_of_a_resume(tmp_path):
    folder = tmp_path / "run"
    run(folder, "trainer.epochs=1")
    resume(folder, "trainer.epochs=2", "scheduler=constant")
    state = final_state(folder)
    assert (state["state"]["epoch"], state["state"]["step"]) == (2, 10)
    assert state["config"]["scheduler"]["_target_"] == "segtrain.optim.Constant"
    assert metrics(folder)[-2]["lr"] == pytest.approx(1e-3)
