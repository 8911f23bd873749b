"""What a run is to do and where, before it starts."""

from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.config.overrides import Overrides
from segtrain.errors import ConfigError
from segtrain.run.plan import is_used, make_plan
from tests.conftest import TINY

RUN = (*TINY, "data.train=8", "trainer.max_steps=1")


def test_a_plan_makes_nothing_and_names_a_folder_without_a_run(here):
    plan = make_plan(RUN)
    assert (plan.job["seed"], plan.resumed, plan.folder_is_chosen) == (0, None, False)
    assert plan.folder.parent == Path("outputs") / plan.job["name"]
    assert list(here.iterdir()) == []
    assert not is_used(plan.folder)
    (plan.folder / "checkpoints").mkdir(parents=True)
    assert not is_used(plan.folder)  # as of a run that was killed before its first checkpoint
    (plan.folder / "checkpoints/next.pt").touch()
    assert not is_used(plan.folder)  # while that took its place
    (plan.folder / "checkpoints/last.pt").touch()
    assert is_used(plan.folder)


def test_a_folder_that_the_user_chose_is_taken_or_refused(here):
    words = [*RUN, "hydra.run.dir=mine here"]
    plan = make_plan(words)
    assert (plan.folder, plan.folder_is_chosen) == (Path("mine here"), True)
    (plan.folder / "checkpoints").mkdir(parents=True)
    (plan.folder / "checkpoints/last.pt").touch()
    with pytest.raises(ConfigError, match=r"holds a run; go on with segtrain resume 'mine here', or choose another"):
        make_plan(words)


def test_a_run_that_goes_on_keeps_its_config_and_takes_changes_on_top(here):
    assert main([*RUN, "hydra.run.dir=run", "arch=fpn", "optimizer.lr=0.01"]) == 0
    plan = make_plan(Overrides.of(["resume=run", "trainer.max_steps=2"]))
    assert (plan.folder, plan.job["resume"]) == (Path("run"), "run")
    assert plan.job["arch"]["_target_"].endswith(".FPN")
    assert (plan.job["optimizer"]["lr"], plan.job["trainer"]["max_steps"]) == (0.01, 2)
    assert plan.resumed["state"]["step"] == 1
    with pytest.raises(ConfigError, match="init_from: a run that goes on keeps its own weights"):
        make_plan(["resume=run", "init_from=run"])
