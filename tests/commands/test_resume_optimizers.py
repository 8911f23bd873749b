"""A run that stopped in the middle of an epoch goes on exactly, whatever the optimizer remembers."""

import pytest
import torch

from segtrain.cli import main
from tests.commands.test_resume import assert_same
from tests.conftest import TINY

SHORT = (*TINY, "data.train=12", "data.val=4", "trainer.precision=fp32", "scheduler=constant", "data.num_workers=0")
OPTIMIZERS = {
    "adam": ["optimizer=adam"],
    "adamw": ["optimizer=adamw", "optimizer.layer_decay=0.8", "optimizer.groups={decoder:{lr_factor:2}}"],
    "sgd": ["optimizer=sgd", "trainer.ema_decay=0.9"],
    "lion": ["optimizer=lion"],
    "muon": ["optimizer=muon", "encoder=test_vit", "arch=fpn"],
    "schedule_free": ["optimizer=schedule_free", "scheduler.warmup=2"],
    "rmsprop": ["optimizer=sgd", "~optimizer.nesterov", "optimizer._target_=torch.optim.RMSprop", "optimizer.lr=1e-3"],
    "nadam": ["optimizer=adam", "optimizer._target_=torch.optim.NAdam"],
}


def learnt(folder):
    payload = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    return {key: payload[key] for key in ("model", "ema", "optimizer", "random")}


USUAL = ("adam", "sgd", "rmsprop", "nadam")  # they remember what adamw does, or less


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in USUAL else ()) for name in OPTIMIZERS]
)
def test_a_run_in_two_parts_ends_as_a_run_in_one(tmp_path, name):
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    words = [*SHORT, *OPTIMIZERS[name]]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*words, "trainer.max_steps=5", f"hydra.run.dir={whole}"]) == 0
    assert main([*words, "trainer.max_steps=2", f"hydra.run.dir={parts}"]) == 0
    halfway = learnt(parts)["model"]
    assert main(["resume", str(parts), "trainer.max_steps=5"]) == 0
    assert_same(learnt(whole), learnt(parts))
    assert any(not torch.equal(halfway[key], weight) for key, weight in learnt(parts)["model"].items())
