"""Listing runs: their state, filters on config and scores, and their order."""

import json
import subprocess
import sys

import pytest
import yaml

from segtrain.cli import main
from segtrain.errors import ConfigError
from segtrain.run.folders import Lock
from segtrain.run.listing import Condition, chosen, find_runs, ranked

CONFIG = {
    "name": "a",
    "arch": {"_target_": "segtrain.models.FPN"},
    "encoder": {"_target_": "segtrain.models.TimmEncoder", "name": "resnet34"},
    "optimizer": {"lr": 0.001},
    "trainer": {"epochs": 3},
}


def draw(folder, iou=None, *, state="finished", lr=0.001, encoder="resnet34"):
    folder.mkdir(parents=True)
    config = {**CONFIG, "optimizer": {"lr": lr}, "encoder": {**CONFIG["encoder"], "name": encoder}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    status = {"state": state, "step": 3, "steps": 6, "parameters": 7, "seconds": 1.5}
    (folder / "status.json").write_text(json.dumps(status))
    if iou is not None:
        (folder / "scores.json").write_text(json.dumps({"val": {"iou": iou, "loss": 1 - iou, "step": 3}}))


@pytest.fixture
def runs(tmp_path):
    draw(tmp_path / "a" / "1", 0.7)
    draw(tmp_path / "a" / "2", 0.9, lr=0.1)
    draw(tmp_path / "sweeps" / "x" / "1", 0.8, encoder="resnet18", state="pruned")
    draw(tmp_path / "b", state="interrupted")
    (tmp_path / "a" / "1" / "checkpoints").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "config.yaml").write_text("wandb: 1\n")
    return tmp_path


def names(found, folder):
    return [str(run.folder.relative_to(folder)) for run in found]


def test_all_runs_are_found_and_ranked_those_without_a_score_last(runs):
    found = find_runs(runs)
    assert names(ranked(found, "val/iou"), runs) == ["a/2", "sweeps/x/1", "a/1", "b"]
    assert names(ranked(found, "val/loss"), runs) == ["a/2", "sweeps/x/1", "a/1", "b"]
    assert names(ranked(found, "optimizer.lr"), runs)[-1] == "a/2"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["encoder.name=resnet34"], ["a/1", "a/2", "b"]),
        (["encoder=resnet18"], ["sweeps/x/1"]),
        (["val/iou>0.75"], ["a/2", "sweeps/x/1"]),
        (["val/iou>=0.7", "optimizer.lr=1e-3", "state=finished"], ["a/1"]),
        (["arch=FPN", "encoder!=resnet34"], ["sweeps/x/1"]),
        (["val/iou<0.8"], ["a/1"]),
    ],
)
def test_conditions_are_on_config_and_scores_and_all_must_hold(runs, where, expected):
    assert names(chosen(find_runs(runs), map(Condition.of, where)), runs) == expected


def test_a_run_whose_folder_is_held_is_running(runs):
    lock = Lock.take(runs / "b")
    assert {run.folder.name: run.state for run in find_runs(runs)}["b"] == "running"
    lock.release()
    assert {run.folder.name: run.state for run in find_runs(runs)}["b"] == "interrupted"


def test_mistakes_are_told(runs):
    with pytest.raises(ConfigError, match="is no condition"):
        Condition.of("val/iou")
    with pytest.raises(ConfigError, match="is no number"):
        Condition.of("val/iou>good")
    with pytest.raises(ConfigError, match="no run has 'val/iuo', did you mean 'val/iou'"):
        chosen(find_runs(runs), [Condition.of("val/iuo>0.5")])
    with pytest.raises(ConfigError, match="no such folder"):
        find_runs(runs / "missing")


def test_the_command_writes_json_and_csv_and_imports_no_torch(runs, capsys):
    words = ["runs", str(runs), "where=[val/iou>0.75,encoder.name=resnet34]"]
    assert main([*words, "format=csv"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("folder,state,arch,encoder,data,val/iou")
    assert row.startswith(f"{runs}/a/2,finished,fpn,resnet34,,0.9")
    assert main(["runs", str(runs), "limit=1", "sort=val/iou"]) == 0
    assert "1 of 4 runs below" in capsys.readouterr().out
    code = f"import sys; from segtrain.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
