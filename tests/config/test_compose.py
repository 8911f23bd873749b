"""Composing a job: choices before values, a choice that replaces a checkpoint's part, all mistakes at once."""

from pathlib import Path

import pytest

from segtrain.config.compose import compose, overlay, rooted
from segtrain.errors import ConfigError


def test_a_choice_comes_before_the_values_whatever_the_order_of_the_words():
    words = ["optimizer.lr=0.5", "optimizer=sgd", "arch=fpn"]
    job = compose("train", words).job
    assert job == compose("train", words[::-1]).job
    assert (job["optimizer"]["_target_"], job["optimizer"]["lr"]) == ("torch.optim.SGD", 0.5)


def test_a_run_is_named_by_what_it_is_made_of_and_lies_in_a_folder_of_that_name():
    composed = compose("train", ["arch=fpn", "encoder=resnet18"])
    assert composed.job["name"] == "fpn-resnet18-shapes"
    assert composed.run_dir.parent == Path("outputs/fpn-resnet18-shapes")
    called = compose("train", ["arch=fpn", "encoder=resnet18"], called={"encoder": "mine"})
    assert called.job["name"] == "fpn-mine-shapes"
    assert called.job["encoder"] == composed.job["encoder"]


LINES = [
    ["trainer.epochs=3", "data.image_size=[32,48]", "name=it", "hydra.run.dir=there/${name}"],
    ["optimizer=sgd", "~optimizer.nesterov", "optimizer._target_=torch.optim.RMSprop", "optimizer.lr=1e-3"],
    ["optimizer.groups={decoder:{lr_factor:2}}", "+data.mine={a:[1,2]}", "++trainer.epochs=4", "trainer.epochs=5"],
    ["data=folder", "data.root='a b=c'", "data.classes=[a,'b, c']", "encoder.weights=null", "name='${seed}'"],
    ["loss.terms.dice.weight=0.5", "augment.transforms.0.p=0.25", "logger=[tensorboard,mlflow]", "seed=7"],
    ["hydra.run.dir='runs/${hydra.job.override_dirname}'", "seed=7", "arch=fpn"],
]


@pytest.mark.parametrize("words", LINES, ids=lambda words: words[0].partition("=")[0])
def test_values_are_put_in_as_hydra_puts_them_in_when_it_reads_all_at_once(words, monkeypatch):
    found = compose("train", words)
    asked = []
    monkeypatch.setattr("segtrain.config.compose._with_values", lambda base, values: asked.append(values))
    again = compose("train", words)
    assert asked
    assert again.job == found.job
    if any(word.startswith("hydra.run.dir") for word in words):  # another has the time in its name
        assert again.run_dir == found.run_dir


def test_a_folder_may_be_named_by_the_values_of_its_line():
    composed = compose("train", ["hydra.run.dir='runs/${hydra.job.override_dirname}'", "seed=7"])
    assert composed.run_dir == Path("runs/seed=7")


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        compose("train", ["arch=unett", "trainer.epoch=3", "trainer.epochs=x"])
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0].partition("=")[0] for line in lines] == ["arch", "trainer.epoch", "trainer.epochs"]
    assert "did you mean 'unet'?" in lines[0]
    assert "did you mean 'trainer.epochs'?" in lines[1]


def test_a_choice_laid_over_a_job_replaces_the_part_and_a_value_one_key():
    job = compose("train", ["arch=fpn", "arch.dropout=0.1"]).job
    changed = overlay(job, ["optimizer=sgd", "arch.dropout=0.3"])
    assert changed["optimizer"] == compose("train", ["optimizer=sgd"]).job["optimizer"]
    assert changed["arch"] == {**job["arch"], "dropout": 0.3}
    assert job["arch"]["dropout"] == 0.1
    assert {key for key in job if job[key] != changed[key]} == {"arch", "optimizer"}


def test_the_datas_folder_means_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rooted({"data": {"root": "photos"}})["data"]["root"] == str(tmp_path / "photos")
    assert rooted({"data": {"root": None}})["data"]["root"] is None
