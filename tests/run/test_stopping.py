"""Runs that are stopped before their end are saved, say how to go on, and end as if they had never stopped."""

import os
import signal
from pathlib import Path

import pytest
import torch

from segtrain.cli import main
from segtrain.errors import Interrupted, Stopped
from segtrain.run.stopping import Stopping
from segtrain.runtime.world import World
from segtrain.training.trainer import Trainer
from tests.conftest import TINY

RUN = (*TINY, "data.num_workers=0", "data.train=16", "trainer.epochs=2", "trainer.log_every=1")


def weights(folder):
    return torch.load(Path(folder) / "checkpoints/last.pt", weights_only=True)


def at_step(monkeypatch, step, act):
    """Do something once the trainer has finished a step."""
    end_step = Trainer.end_step

    def stand_in(trainer, group):
        if trainer.state.step + 1 == step:
            act(trainer)
        end_step(trainer, group)

    monkeypatch.setattr(Trainer, "end_step", stand_in)


def time_is_over(trainer):
    trainer.stop.limit = 0.0


def file_appears(trainer):
    trainer.stop.looked = float("-inf")
    (trainer.log.folder / "STOP").touch()


def signal_comes(_trainer):
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)  # as batch systems do next: saving goes on


@pytest.mark.parametrize(
    ("act", "code", "why"),
    [
        (time_is_over, 0, " (trainer.max_time=2h is over)"),
        (file_appears, 0, " (found STOP)"),
        (signal_comes, 128 + signal.SIGUSR1, ""),
    ],
)
def test_a_stopped_run_is_saved_and_ends_as_one_that_never_stopped(here, monkeypatch, capsys, act, code, why):
    assert main([*RUN, "hydra.run.dir=whole"]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 3, act)
        assert main([*RUN, "hydra.run.dir=run", "trainer.max_time=2h"]) == code
    assert f"segtrain: stopped at step 3{why}; go on with: segtrain resume run\n" in capsys.readouterr().err
    assert weights("run")["state"]["step"] == 3
    assert main(["resume", "run"]) == 0
    whole, run = (weights(name)["model"] for name in ("whole", "run"))
    assert all(torch.equal(weight, run[name]) for name, weight in whole.items())


def test_each_rank_gives_its_reason_and_signals_come_before_all_others(tmp_path):
    (tmp_path / "STOP").touch()
    first, second = (Stopping(tmp_path, max_time=1e-9, world=World(rank=rank, size=2)) for rank in (0, 1))
    by_file, by_time = first.reason(), second.reason()
    assert 0 < by_time < by_file, "the file is the first rank's to find"
    second.signals.signal_number = signal.SIGTERM
    assert second.reason() > by_file
    assert isinstance(first.error(second.reason(), 7), Interrupted)
    assert not (tmp_path / "STOP").exists(), "the run would stop again at once"
    told = first.error(by_file, 7)
    assert isinstance(told, Stopped)
    assert str(told).endswith(f"go on with: segtrain launch nproc=2 resume={tmp_path}")
    assert second.error(by_file, 7).exit_code == 0
