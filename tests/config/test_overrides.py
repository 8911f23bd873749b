"""Overrides of a command line: what is read of them, and which jobs a list of choices makes."""

import pytest

from segtrain.config.overrides import Overrides
from segtrain.errors import ConfigError

SWEEP = ("arch=unet,fpn", "seed=0,1", "optimizer.lr=1e-3")


def test_what_is_parsed_already_is_not_parsed_again():
    overrides = Overrides.of(SWEEP)
    assert Overrides.of(overrides) is overrides
    assert overrides.words == SWEEP


def test_values_are_those_of_a_key_in_order_and_the_last_one_holds():
    overrides = Overrides.of(["seed=1", "name=a", "seed=2"])
    assert overrides.values("seed") == [1, 2]
    assert overrides.last("seed") == 2
    assert overrides.last("device") is None


def test_a_list_of_choices_becomes_a_job_for_every_combination():
    jobs = Overrides.of(SWEEP).jobs()
    assert [varied for _, varied in jobs] == [
        ("arch=unet", "seed=0"),
        ("arch=unet", "seed=1"),
        ("arch=fpn", "seed=0"),
        ("arch=fpn", "seed=1"),
    ]
    assert [overrides.words for overrides, _ in jobs] == [(*varied, "optimizer.lr=1e-3") for _, varied in jobs]
    assert [overrides.last("optimizer.lr") for overrides, _ in jobs] == [1e-3] * 4


def test_a_list_in_brackets_is_one_value():
    overrides = Overrides.of(["data.classes=[a,b]"])
    assert overrides.one_job() is overrides
    assert len(overrides.jobs()) == 1
    assert overrides.last("data.classes") == ["a", "b"]


def test_a_list_of_choices_is_no_single_job():
    with pytest.raises(ConfigError, match=r"^seed=0,1: is a list of choices, expected one; add -m"):
        Overrides.of(SWEEP[1:]).one_job()


def test_all_words_that_are_no_overrides_are_named_at_once():
    with pytest.raises(ConfigError) as error:
        Overrides.of(["arch", "seed=1", "=2"])
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == ["arch", "=2"]


def test_some_are_split_off_by_the_first_part_of_their_key():
    own, others = Overrides.of(["resume=run", "hydra.run.dir=x", "seed=1", "resumed.a=1"]).split(("resume", "hydra"))
    assert own.words == ("resume=run", "hydra.run.dir=x")
    assert others.words == ("seed=1", "resumed.a=1")
    assert (own + others).last("seed") == 1


def test_targets_are_named_by_the_words_and_by_the_users_own_files(tmp_path):
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "mine.yaml").write_text("# Mine.\n_target_: mine.Decoder\n")
    overrides = Overrides.of(["loss._target_=mine.Loss", "loss.weight=2"])
    assert overrides.named_targets() == ["mine.Loss"]
    assert overrides.named_targets(tmp_path) == ["mine.Loss", "mine.Decoder"]
