"""`segtrain verify-resume` finds a resume that is exact, state that checkpoints lack, and what is not deterministic."""

import json
import sys
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.commands import verify_resume
from tests import processes
from tests.conftest import TINY

OWN = """\
import random
import torch


class Counting:  # a schedule that hangs on how often it was asked: no checkpoint has that
    def __init__(self):
        self.calls = 0

    def __call__(self, step, total):
        self.calls += 1
        return 1 / self.calls


class Erratic:  # numbers that no seed decides, and a kernel that says of itself that it is not deterministic
    def __call__(self, step, total):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
        return random.SystemRandom().random()
"""


@pytest.fixture
def quick(monkeypatch):
    """Start processes that have imported torch already."""

    def started(words, output):
        process = processes.start(*words, output=output)
        process.join()
        return process.exitcode

    monkeypatch.setattr(verify_resume, "started", started)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def own(here):
    (here / "my_schedules.py").write_text(OWN)
    (here / "conf" / "scheduler").mkdir(parents=True)
    for name in ("Counting", "Erratic"):
        text = f"# Mine.\n_target_: my_schedules.{name}\n"
        (here / "conf" / "scheduler" / f"{name.lower()}.yaml").write_text(text)
    yield ("--config-dir", "conf", *TINY)
    sys.modules.pop("my_schedules", None)


@pytest.mark.usefixtures("quick", "here")
def test_a_training_that_goes_on_exactly_is_proven_to(capsys):
    assert main(["verify-resume", *TINY, "arch=fpn", "trainer.ema_decay=0.9", "steps=5", "output=runs"]) == 0
    text = capsys.readouterr().out
    assert "training losses: equal, 5 entries" in text
    for part in ("weights", "average of the weights (EMA)", "optimizer", "random state", "position"):
        assert f"\n{part}: equal, sha256 " in text
    assert "equal: killed at step 3, 4, this training goes on here as if it had not been" in text
    first, *resumed = json.loads(Path("runs/killed/environment.json").read_text())
    assert first["step"] == 0
    assert [kill - start["step"] in (1, 2) for kill, start in zip((3, 4), resumed, strict=True)] == [True, True]


@pytest.mark.usefixtures("quick")
def test_state_that_checkpoints_lack_is_found_and_told_from_chance(own, capsys):
    assert main(["verify-resume", *own, "scheduler=counting", "steps=4", "kills=1"]) == 1
    text = capsys.readouterr().out
    assert "training losses: differs, first in " in text
    assert "weights: differs, sha256 " in text
    assert "two trainings that nobody stops are equal: a part of this config keeps state that checkpoints lack" in text


@pytest.mark.usefixtures("quick")
def test_a_training_that_is_never_the_same_is_told_so_with_the_kernel_that_says_it(own, capsys):
    assert main(["verify-resume", *own, "scheduler=erratic", "steps=4", "kills=1"]) == 1
    text = capsys.readouterr().out
    assert "two trainings that nobody stops differ too, so that it is not the resume" in text
    assert "not deterministic, by their own words: put_" in text


@pytest.mark.usefixtures("quick", "here")
def test_the_mistake_of_a_training_is_told_as_its_own(refused):
    first, *_, said = refused("verify-resume", *TINY, "device=cuda:99")
    assert "a training ended with exit code 2, expected 0; it said" in first
    assert said.startswith("segtrain: device=cuda:99: ")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("steps=4 kills=2", "kills=2: needs steps=5 or more; raise steps"),
        ("trainer.max_steps=9", "trainer.max_steps=9: is not for verify-resume, which sets trainer.max_steps itself"),
        ("resume=run", "resume=run: is not for verify-resume, which sets resume itself; leave it out"),
        ("hydra.run.dir=x", "hydra.run.dir=x: is not for verify-resume, which sets hydra.run.dir itself; write output"),
    ],
)
def test_what_it_sets_itself_is_refused(words, answer, refused, here):
    (line,) = refused("verify-resume", *words.split())
    assert line.startswith(f"segtrain: {answer}")


@pytest.mark.slow  # compiles the blocks anew in each of three processes
def test_compiled_blocks_go_on_exactly_too(here, capsys):
    assert main(["verify-resume", *TINY, "steps=4", "kills=1", "trainer.compile=true"]) == 0
    assert "bit for bit" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_go_on_exactly_too(here, capsys):
    assert main(["verify-resume", *TINY, "steps=4", "kills=1", "ranks=2", "device=cpu"]) == 0
    assert "state of the other processes: equal, sha256 " in capsys.readouterr().out
