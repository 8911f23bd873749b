"""`trainer.auto_resume=true`: one command line for the first start and all later ones."""

import os
from pathlib import Path

import yaml

from segtrain.cli import main
from segtrain.run.plan import make_plan
from segtrain.run.restarts import runs_alike
from tests.conftest import TINY

RUN = (*TINY, "data.train=8", "data.num_workers=0", "name=street", "trainer.max_steps=1", "trainer.auto_resume=true")


def test_the_newest_run_of_the_same_config_with_a_good_checkpoint_is_gone_on_with(here, capsys):
    runs = [f"outputs/street/{name}" for name in ("older", "newer", "other")]
    assert main([*RUN, f"hydra.run.dir={runs[0]}"]) == 0
    assert main([*RUN, f"hydra.run.dir={runs[1]}", "trainer.max_time=1h"]) == 0
    assert main([*RUN, f"hydra.run.dir={runs[2]}", "optimizer.lr=0.5"]) == 0
    for age, run in enumerate(reversed(runs)):
        for file in Path(run, "checkpoints").glob("*.pt"):
            os.utime(file, (1e9 - age, 1e9 - age))
    plan = make_plan([*RUN, "trainer.max_time=2h"])
    assert (plan.folder, plan.resumed["state"]["step"]) == (Path(runs[1]), 1)
    assert plan.job["trainer"]["max_time"] == "2h"
    for file in Path(runs[1], "checkpoints").glob("*.pt"):
        file.write_bytes(b"PK damaged")
    assert make_plan(RUN).folder == Path(runs[0])
    new = make_plan([*RUN, "seed=5"])
    assert (new.resumed, new.folder.exists()) == (None, False)
    assert "the newest (outputs/street/newer) differs in seed" in " ".join(capsys.readouterr().out.split())
    assert make_plan([*RUN, "trainer.auto_resume=false"]).resumed is None


def test_a_folder_that_the_user_chose_is_gone_on_with_alone(here):
    assert main([*RUN, "hydra.run.dir=mine"]) == 0
    assert make_plan([*RUN, "hydra.run.dir=mine"]).folder == Path("mine")
    assert make_plan([*RUN, "hydra.run.dir=mine2"]).resumed is None


def test_a_run_that_was_never_saved_is_none(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed": 0}))
    assert runs_alike({"seed": 0}, [tmp_path]) == []


def test_a_sweep_refuses_it(here, refused):
    (line,) = refused("-m", *TINY, "seed=0,1", "trainer.auto_resume=true")
    assert line == "segtrain: trainer.auto_resume=true: is for single runs, and a sweep goes on by itself; leave it out"
