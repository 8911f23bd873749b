"""A logger that fails ends no training; several get the same."""

import errno

import numpy as np
import pytest

from segtrain.cli import main
from segtrain.errors import ConfigError
from segtrain.loggers import Guarded, Several
from tests.conftest import TINY


class Noting:
    def __init__(self, images=0, error=None):
        self.images, self.error, self.calls = images, error, []

    def __getattr__(self, name):
        if name not in ("start", "scalars", "picture", "finish"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            if self.error:
                raise self.error

        return call


def all_of(logger):
    logger.start(0, "a: 1")
    logger.scalars(1, {"loss": 0.5})
    logger.picture(1, "val/0", np.zeros((4, 4, 3), np.uint8))
    logger.finish({}, {})


def test_a_failure_is_warned_of_once_and_the_logger_left_alone(caplog):
    inner = Noting(error=ConnectionError("no network"))
    all_of(Guarded(inner, "WandB"))
    assert inner.calls == ["start"]
    assert caplog.text.count("logger WandB failed and is left out") == 1
    assert "ConnectionError: no network" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), ConfigError("wrong")])
def test_a_full_disk_and_what_the_user_can_fix_are_raised(error):
    with pytest.raises(type(error)):
        Guarded(Noting(error=error), "TensorBoard").scalars(1, {})


def test_several_get_all_but_pictures_that_they_do_not_draw(tmp_path):
    some, none = Noting(images=4), Noting()
    both = Several(tmp_path, loggers={"a": some, "b": none})
    assert both.images == 4
    all_of(both)
    assert some.calls == ["start", "scalars", "picture", "finish"]
    assert none.calls == ["start", "scalars", "finish"]


def test_a_list_of_loggers_makes_several_and_their_keys_can_be_set(here, capsys):
    words = [word for word in TINY if word != "logger=none"]
    assert main([*words, "logger=[tensorboard,mlflow]", "logger.loggers.mlflow.experiment=street", "--cfg", "job"]) == 0
    printed = capsys.readouterr().out
    assert "experiment: street" in printed
    assert "segtrain.loggers.TensorBoard" in printed


def test_mistakes_in_the_list_are_told(refused):
    assert "logger=[tensorbord]: no such choice, did you mean 'tensorboard'" in refused("logger=[tensorbord]")[0]
    assert "expected some loggers, each once" in refused("logger=[tensorboard,tensorboard]")[0]


def test_a_package_that_is_missing_is_named_before_training(here, refused, monkeypatch):
    from segtrain.loggers import remote

    monkeypatch.setattr(remote, "find_spec", lambda _: None)
    words = [word for word in TINY if word != "logger=none"]
    (line,) = [line for line in refused(*words, "logger=trackio") if "needs" in line]
    assert line == "segtrain: logger=trackio: needs trackio; run pip install 'segtrain[trackio]'"
