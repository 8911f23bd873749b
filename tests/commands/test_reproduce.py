"""`segtrain reproduce` trains a run again, and tells whether it came out the same."""

import pytest
import torch
import yaml

from segtrain.cli import main
from tests.conftest import TINY


@pytest.fixture
def run(here):
    assert main([*TINY, "arch=fpn", "trainer.max_steps=2", "trainer.ema_decay=0.9", "hydra.run.dir=run"]) == 0
    return here / "run"


def change(run, **keys):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, **keys}))
    return config


def test_a_run_that_is_trained_again_is_equal_and_differs_in_words_alone(run, capsys):
    capsys.readouterr()
    assert main(["reproduce", "run"]) == 0
    text = capsys.readouterr().out
    for part in ("training losses", "validation scores", "weights", "average of the weights (EMA)"):
        assert f"\n{part}: equal, " in text
    assert main(["diff", "run", "run-reproduced"]) == 0
    (words,) = capsys.readouterr().out.splitlines()[2:]
    assert words.startswith("words of start 1: A data=shapes")
    assert words.endswith('B reproduce="run"')


def test_a_run_of_another_config_than_its_folder_says_is_not_equal(run, capsys):
    change(run, seed=1)
    capsys.readouterr()
    assert main(["reproduce", "run", "output=again"]) == 1
    text = capsys.readouterr().out
    assert "training losses: differs, first in loss at step 2: A " in text
    assert "not equal: A is run, B is again" in text


def test_what_was_changed_at_a_resume_is_warned_of(run, capsys):
    assert main(["resume", "run", "trainer.max_steps=3", "data.num_workers=0"]) == 0
    capsys.readouterr()
    main(["reproduce", "run"])
    assert "run: was changed on the way (" in capsys.readouterr().out


def test_a_run_that_has_not_ended_or_had_more_processes_is_refused(run, refused):
    trainer = change(run)["trainer"]
    change(run, trainer={**trainer, "max_steps": 3})
    (line,) = refused("reproduce", "run")
    assert line.startswith("segtrain: run=run: has made 2 of 3 steps, expected a run that has ended; first: ")
    change(run, trainer=trainer)
    last = run / "checkpoints" / "last.pt"
    torch.save({**torch.load(last, weights_only=True), "ranks": [{}]}, last)
    (line,) = refused("reproduce", "run")
    assert line.endswith("write segtrain launch nproc=2 reproduce run")


def test_targets_of_others_are_not_run_unless_named(run, refused):
    scheduler = {"_target_": "os.system", "command": "true"}
    change(run, scheduler=scheduler)
    (line,) = refused("reproduce", "run")
    assert "scheduler._target_ is 'os.system', which is not one of" in line
