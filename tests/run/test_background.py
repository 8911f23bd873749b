"""Checkpoints written beside the training loop: whole, of one moment, and no error is lost."""

import threading

import pytest
import torch
from torch import nn

from segtrain.errors import CheckpointError
from segtrain.run import checkpoint
from segtrain.run.background import Background, snapshot
from segtrain.run.checkpoint import Checkpoints
from tests.training.test_trainer import batch, make_trainer


def test_a_snapshot_stays_while_training_goes_on():
    model = nn.Sequential(nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(3))
    state = {"model": model.state_dict(), "kept": [(0.5, 1)], "none": None}
    taken = snapshot(state)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.zero_()
    assert taken["kept"] == [(0.5, 1)]
    assert taken["none"] is None
    assert all(torch.equal(value, before[name]) for name, value in taken["model"].items())
    assert taken["model"]["0.weight"].stride() == before["0.weight"].stride()
    assert taken["model"]._metadata == model.state_dict()._metadata


def test_work_is_done_in_order_and_its_error_comes_up_once():
    background, gate, done = Background(), threading.Event(), []
    background.begin(lambda: (gate.wait(5), done.append(1)))
    background.check()
    assert done == [], "it is not waited for"
    gate.set()
    background.begin(lambda: done.append(2))
    background.wait()
    assert done == [1, 2]
    background.begin(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.wait()
    background.wait()
    background.begin(lambda: 1 / 0)
    background._thread.join()
    with pytest.raises(ZeroDivisionError):
        background.check()
    background.check()


def test_training_with_it_leaves_the_same_checkpoints(tmp_path):
    payloads = []
    for name in ("plain", "background"):
        trainer = make_trainer(tmp_path / name, [batch(seed=number) for number in range(5)], epochs=2, log_every=1)
        trainer.saving = type(trainer.saving)(
            every_steps=2, every_minutes=None, keep_top_k=1, in_background=True, sharded="auto"
        )
        trainer.checkpoints = Checkpoints(tmp_path / name / "checkpoints", in_background=name == "background")
        trainer.fit()
        folder = tmp_path / name / "checkpoints"
        payloads.append({file.name: checkpoint.read(file) for file in folder.glob("*.pt")})
    assert payloads[0].keys() == payloads[1].keys() >= {"last.pt", "previous.pt", "best.pt"}
    for name, plain in payloads[0].items():
        other = payloads[1][name]
        assert plain["state"]["step"] == other["state"]["step"]
        assert all(torch.equal(value, other["model"][key]) for key, value in plain["model"].items())
        moments = [[one["exp_avg"] for one in each["optimizer"]["state"].values()] for each in (plain, other)]
        assert all(map(torch.equal, *moments))
        assert torch.equal(plain["random"]["torch"], other["random"]["torch"])


def test_an_error_of_the_thread_ends_the_run_at_the_next_step(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=number) for number in range(9)])
    trainer.checkpoints = Checkpoints(tmp_path / "checkpoints", in_background=True)
    steps = []
    end_step = trainer.end_step

    def stand_in(group):
        end_step(group)
        steps.append(trainer.state.step)
        if trainer.state.step == 3:
            (tmp_path / "checkpoints").rename(tmp_path / "away")
            trainer.save()
            trainer.checkpoints.background._thread.join()

    trainer.end_step = stand_in
    with pytest.raises(CheckpointError, match="cannot be written"):
        trainer.fit()
    assert steps == [1, 2, 3]
    assert checkpoint.read(tmp_path / "away/last.pt")["state"]["step"] == 0
