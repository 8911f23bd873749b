"""Files and folders as bare words: `segtrain eval RUN`, `segtrain predict RUN photos masks`, `segtrain resume RUN`."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain.cli import COMMANDS, main
from segtrain.config.overrides import Overrides
from segtrain.errors import ConfigError
from segtrain.terminal.arguments import EXAMPLES, OWN_KEYS, name_words
from tests.conftest import TINY

NAMES = ["run", "my run", "a,b", "lr=0.1", "it's", "Läufe", "2024", 'say "hi"', "[x]"]


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TINY, "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(params=NAMES)
def named(request, trained, tmp_path):
    """A copy of a run in a folder of that name, relative to the current one."""
    shutil.copytree(trained, tmp_path / request.param)
    return request.param


def photo(folder):
    folder.mkdir()
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "one.png")


def test_eval_takes_a_run_of_any_name(named, tmp_path):
    assert main(["eval", named, "data.split=test", "eval.bootstrap=0"]) == 0
    assert "test" in json.loads((tmp_path / named / "scores.json").read_text())


def test_predict_takes_a_run_photos_and_an_output_of_any_name(named, tmp_path):
    photo(tmp_path / f"photos {named}")
    assert main(["predict", named, f"photos {named}", f"out/{named}", "overlay=null"]) == 0
    assert (tmp_path / "out" / named / "one.png").is_file()


def test_resume_goes_on_in_the_folder_of_the_run(named, tmp_path):
    assert main(["resume", named, "trainer.max_steps=3"]) == 0
    payload = torch.load(tmp_path / named / "checkpoints" / "last.pt", weights_only=True)
    assert payload["state"]["step"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ["run", "photos", "masks"],
        ["run", "photos", "output=masks"],
        ["ckpt=run", "photos", "masks"],
        ["input=photos", "run", "masks", "overlay=null"],
        ["ckpt=run", "input=photos", "output=masks"],
    ],
)
def test_keys_and_bare_words_can_be_mixed(words, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    photo(tmp_path / "photos")
    assert main(["predict", *words]) == 0
    assert (tmp_path / "masks" / "one.png").is_file()


def test_words_get_the_keys_in_order_and_overrides_stay():
    words = name_words(["a/b=c/d", "x", "output=o", "~image_head"], "predict")
    assert words == ['ckpt="a/b=c/d"', 'input="x"', "output=o", "~image_head"]
    assert Overrides.of(words).last("ckpt") == "a/b=c/d"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("eval run other", "other: is one word more than eval takes (ckpt)"),
        ("eval run test", "test: is one word more than eval takes (ckpt), expected key=value; write data.split=test"),
        ("eval ckpt=run val", "write data.split=val"),
        ("predict a b c d", "d: is one word more than predict takes (ckpt input output)"),
        ("resume", "resume: names no run; write segtrain resume outputs/<name>/<time>"),
        ("resume resume=null", "resume: names no run"),
        ("resume nowhere", "nowhere: no such file or folder, expected a checkpoint or a run folder"),
        ("eval runs/lr=0.1/none", "runs/lr=0.1/none: no such file or folder"),
        ("-m resume run seed=1,2", "-m: sweeps are for train, eval, launch, not for resume"),
    ],
)
def test_what_is_wrong_with_the_words_is_said(words, problem, refused):
    (line,) = refused(*words.split())
    assert problem in line


def test_keys_that_got_no_word_are_missing(refused):
    lines = refused("predict", "run")
    assert [line.split(": ")[1] for line in lines] == ["input", "output"]


def test_more_words_than_keys_is_an_error_in_python_too():
    with pytest.raises(ConfigError, match="one word more"):
        name_words(["a", "b", "c"], "compare")


@pytest.mark.parametrize("command", [*EXAMPLES])
def test_the_help_of_a_command_shows_the_form_with_bare_words_first(command, capsys):
    assert command in COMMANDS
    assert main([command, "--help"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(
        f"usage: segtrain {command} {OWN_KEYS[command][0].upper() if command != 'resume' else 'RUN'}"
    )


def test_a_folder_of_runs_names_the_newest(trained, tmp_path, refused):
    shutil.copytree(trained, tmp_path / "runs" / "first")
    assert "such as runs/first, the newest there" in refused("eval", "runs")[0]
