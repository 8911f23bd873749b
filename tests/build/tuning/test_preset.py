"""The experiment that a tuning writes, and the line that trains with it."""

import pytest

from segtrain.build.tuning.preset import command_line, place_for, text_of, write
from segtrain.config.compose import compose
from segtrain.errors import ConfigError

SETTINGS = {"data.batch_size": 4, "trainer.grad_accum_steps": 2, "data.num_workers": 1}


def test_the_experiment_sets_its_values_over_those_of_the_one_that_was_chosen(here):
    file = place_for("tuned", None, chosen="pets_lite0")
    write(file, text_of(SETTINGS, chosen="pets_lite0", about="here"))
    job = compose("train", ["experiment=tuned", "seed=7"], config_dir=here / "my_configs").job
    expected = compose("train", ["experiment=pets_lite0", "seed=7", *(f"{k}={v}" for k, v in SETTINGS.items())]).job
    assert job == expected
    assert job["data"]["batch_size"] == 4
    assert job["encoder"]["name"] == "tf_efficientnet_lite0"


def test_values_go_before_those_of_the_data(here):
    write(place_for("tuned", None, chosen=None), text_of({"data.image_size": [64, 96]}, chosen=None, about="here"))
    job = compose("train", ["data=shapes", "experiment=tuned"], config_dir=here / "my_configs").job
    assert job["data"]["image_size"] == [64, 96]


def test_the_line_has_the_user_s_words_quoted_without_those_that_are_replaced(here):
    words = ["arch=fpn", "data.root=my photos", "experiment=pets_lite0", "data.batch_size=8"]
    file = place_for("quick", None, chosen="pets_lite0")
    line = "segtrain --config-dir my_configs arch=fpn 'data.root=my photos' experiment=quick"
    assert command_line(words, file, SETTINGS, None) == line
    as_it_is = "segtrain --config-dir own arch=fpn 'data.root=my photos' experiment=pets_lite0 data.batch_size=8"
    assert command_line(words, None, {}, here.__class__("own")) == as_it_is


def test_files_of_others_are_not_overwritten(here):
    file = place_for("tuned", None, chosen=None)
    write(file, text_of(SETTINGS, chosen=None, about="here"))
    assert place_for("tuned", None, chosen=None) == file  # its own
    file.write_text("# @package _global_\n# Mine.\nseed: 1\n")
    for name, chosen, why in (
        ("tuned", None, "was not written by segtrain tune"),
        ("pets_lite0", None, "is an experiment already"),
        ("mine", "mine", "is an experiment already"),
        ("a/b", None, "expected a name of letters"),
    ):
        with pytest.raises(ConfigError, match=why):
            place_for(name, None, chosen=chosen)
