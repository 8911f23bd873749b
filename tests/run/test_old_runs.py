"""A run that an earlier version made, with the names of that time, goes on, is scored, predicts and is compared."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from segtrain import Predictor
from segtrain.cli import main
from segtrain.config.renamed import current_key, with_current_names
from segtrain.run import checkpoint
from tests.run import old_run

OLD = Path(__file__).parent / "old"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The old run, with its data drawn again in another place."""
    monkeypatch.chdir(tmp_path)
    old_run.photos(tmp_path / "photos")
    shutil.copytree(OLD, tmp_path / "run")
    return tmp_path / "run"


def test_its_config_has_names_that_are_gone():
    config = yaml.safe_load((OLD / "config.yaml").read_text())
    assert config["data"]["_target_"] == "segtrain.data.folder.Folder"
    assert config["augment"]["_target_"] == "segtrain.data.transforms.Augment"
    assert config["augment"]["fit"] == "pad"
    assert "aux" in config


def test_its_config_is_read_with_the_names_of_today(run):
    config = checkpoint.read(run / "checkpoints" / "last.pt")["config"]
    assert config["data"]["_target_"] == "segtrain.data.Folder"
    assert config["data"]["fit"] == "pad"
    assert config["augment"]["_target_"] == "segtrain.data.Augment"
    assert "fit" not in config["augment"]
    assert "aux" not in config
    assert config["image_head"]["weight"] == 0.4
    assert with_current_names(config) == config


def test_it_goes_on(run):
    before = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert before["state"]["step"] == 4
    assert main(["resume", str(run), "data.root=photos", "trainer.max_steps=8"]) == 0
    after = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert after["state"]["step"] == 8
    assert after["config"]["data"]["_target_"] == "segtrain.data.Folder"
    assert after["optimizer"]["state"].keys() == before["optimizer"]["state"].keys()
    assert any(not torch.equal(before["model"][name], weight) for name, weight in after["model"].items())


def test_it_is_scored_as_it_was(run):
    kept = json.loads((OLD / "scores.json").read_text())["val"]
    assert main(["eval", str(run), "data.root=photos", "data.split=val", "output=again", "eval.bootstrap=0"]) == 0
    (found,) = json.loads(Path("again/scores.json").read_text()).values()
    for name in ("iou", "f1", "accuracy", "iou_imagewise", "label_accuracy"):
        assert found[name] == pytest.approx(kept[name], abs=2e-3), name


def test_it_predicts_and_is_compared(run):
    assert main(["predict", str(run), "photos/images", "masks"]) == 0
    assert len(list(Path("masks").glob("*.png"))) == 20
    assert Predictor(run)(Path("photos/images/00.png")).shape == (40, 32)
    assert main(["compare", str(run), str(run), "split=val", "output=compared"]) == 0
    assert Path("compared/comparison.csv").is_file()


@pytest.mark.parametrize(
    ("word", "now"),
    [("aux=classification", "image_head"), ("aux.weight=2", "image_head.weight"), ("augment.fit=pad", "data.fit")],
)
def test_a_key_of_that_time_is_answered_with_its_name_of_today(word, now, capsys):
    key, _, value = word.partition("=")
    assert current_key(key) == now
    assert main([word, "--cfg", "job"]) == 2
    assert f"{key}: is called {now} now; write {now}={value}" in capsys.readouterr().err
