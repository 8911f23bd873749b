"""Weights & Biases without network: files for ``wandb sync``, and the same id after a resume."""

import sys
from types import SimpleNamespace

import pytest

from segtrain.cli import main
from segtrain.loggers import WandB
from tests.conftest import TINY

pytest.importorskip("wandb")
WORDS = (*(word for word in TINY if word != "logger=none"), "data.train=8", "trainer.log_every=1", "hydra.run.dir=run")


@pytest.mark.slow
def test_offline_a_resume_goes_on_with_the_run(here):
    assert main([*WORDS, "logger=wandb", "logger.mode=offline", "trainer.epochs=1"]) == 0
    assert main(["resume", "run", "trainer.epochs=2"]) == 0
    name = (here / "run" / "wandb_id").read_text().strip()
    files = [file.name for file in (here / "run" / "wandb").glob("offline-run-*/*.wandb")]
    assert files == [f"run-{name}.wandb"] * 2


def test_a_run_gets_config_scores_and_pictures_under_one_id(tmp_path, monkeypatch):
    calls = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((step, values)),
        config=SimpleNamespace(update=lambda *_, **__: None),
        summary={},
        finish=lambda: calls.append("finished"),
    )

    def init(**options):
        calls.append(options)
        return run

    stand_in = SimpleNamespace(init=init, Settings=lambda **_: None, Image=lambda picture: "image", __spec__=None)
    monkeypatch.setattr("segtrain.loggers.wandb.require", lambda *_: None)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    for step in (0, 5):
        logger = WandB(tmp_path, mode="offline")
        logger.start(step, "seed: 3")
        logger.scalars(step + 1, {"train/loss": 0.5})
        logger.picture(step + 1, "val/0", None)
        logger.finish({"arch": "fpn"}, {"best/iou": 0.9})
    first, second = (call for call in calls if isinstance(call, dict))
    assert first["id"] == second["id"]
    assert (first["resume"], second["resume"], first["config"]) == (None, "allow", {"seed": 3})
    assert (6, {"train/loss": 0.5}) in calls
    assert (6, {"val/0": "image"}) in calls
    assert run.summary == {"best/iou": 0.9}
