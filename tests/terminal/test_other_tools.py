"""Words and flags of other tools: answered with what they are called here; a silly suggestion is worse than none."""

import pytest

from segtrain.commands import COMMANDS
from segtrain.config.compose import train_key
from segtrain.config.groups import Groups
from segtrain.suggest import did_you_mean, nearest
from segtrain.terminal import other_tools


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("test", "write segtrain eval outputs/<name>/<time> data.split=test"),
        ("infer", "write segtrain predict outputs/<name>/<time> photos masks"),
        ("fit", "write segtrain train"),
        ("convert", "write segtrain export outputs/<name>/<time> format=onnx"),
        ("evl", "did you mean 'eval'?"),
        (
            "somewhere",
            f"choose from {', '.join(COMMANDS)}, or write somewhere=...",
        ),
        ("--epochs 5", "--epochs: no such flag, as options are key=value; write trainer.epochs=..."),
        ("--lr=0.1", "write optimizer.lr=0.1"),
        ("--batch-size 4", "write data.batch_size=..."),
        ("--batch_size=4", "write data.batch_size=4"),
        ("--xyzzy", "--xyzzy: no such flag; `segtrain --help` lists the flags"),
        ("--cfgg", "did you mean '--cfg'?"),
        ("data=mapillary", f"data=mapillary: no such choice; choose from {', '.join(Groups.find().choices('data'))}"),
        (
            "predict ext=jpg",
            "ext: unknown key; predict has ckpt, input, output, values, device, precision, overlay, scores, ",
        ),
        ("predict a b c overlai=1", "overlai: unknown key, did you mean 'overlay'?"),
        ("eval run bootstrap=0", "bootstrap: unknown key, did you mean 'eval.bootstrap'?"),
        ("eval run spilt=test", "spilt: unknown key, did you mean 'data.split'?"),
        ("import saved model.pt archh=unet", "archh: unknown key, did you mean 'arch'?"),
    ],
)
def test_the_answer_is_what_to_write(words, answer, refused):
    (line,) = refused(*words.split())
    assert answer in line


def test_a_path_for_a_command_is_answered_with_the_commands_that_take_one(tmp_path, refused):
    folder = tmp_path / "my run"
    folder.mkdir()
    assert f"write segtrain eval '{folder}', or resume or predict in place of eval" in refused(str(folder))[0]


def test_every_key_that_a_flag_leads_to_exists():
    needs_a_folder = {"data.root", "data.classes"}
    groups = {"arch", "encoder", "data"}
    keys = set(other_tools._KEYS.values()) - needs_a_folder - groups - {"hydra.run.dir"}
    assert len(keys) > 5
    assert {key: train_key(key) for key in keys} == {key: key for key in keys}


@pytest.mark.parametrize(
    ("word", "choices"),
    [
        ("export", ["import", "eval"]),
        ("cityscapes", ["shapes", "folder"]),
        ("coco", ["folder", "shapes"]),
        ("mse", ["mcc"]),
    ],
)
def test_another_word_is_no_misspelling(word, choices):
    assert nearest(word, choices) is None
    assert did_you_mean(word, choices) == f"; choose from {', '.join(sorted(choices))}"


@pytest.mark.parametrize(
    ("word", "choice"),
    [
        ("fpnn", "fpn"),
        ("cta", "cat"),
        ("attn", "attention"),
        ("xfold", "fold"),
        ("UNet", "unet"),
        ("Unett", "Unet"),
        ("deeplab", "deeplabv3"),
    ],
)
def test_a_misspelling_finds_its_word(word, choice):
    assert nearest(word, [choice, "zebra"]) == choice
