"""What the user may have meant: near words, and none where a word is another one."""

import pytest

from segtrain.suggest import did_you_mean, nearest, nearest_key, suggest_key

KEYS = ("seed", "trainer.epochs", "trainer.max_steps", "optimizer.lr", "scheduler.warmup")


@pytest.mark.parametrize(
    ("word", "choices", "expected"),
    [
        ("unett", ["unet", "fpn"], "unet"),
        ("UNET", ["unet", "fpn"], "unet"),
        ("deeplab3", ["deeplabv3", "deeplabv3plus"], "deeplabv3"),
        ("cityscapes", ["shapes", "folder"], None),
        ("export", ["import", "eval"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_word(word, choices, expected):
    assert nearest(word, choices) == expected


def test_the_end_of_an_error_line_names_the_nearest_or_a_few():
    assert did_you_mean("fnp", ["fpn", "unet"]) == ", did you mean 'fpn'?"
    assert did_you_mean("zzz", ["fpn", "unet"]) == "; choose from fpn, unet"
    assert did_you_mean("zzz", ["fpn", "unet"], listed=1) == ""
    assert did_you_mean("zzz", []) == ""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("epochs", "trainer.epochs"),
        ("trainer.epoch", "trainer.epochs"),
        ("optimiser.lr", "optimizer.lr"),
        ("max_step", "trainer.max_steps"),
        ("nothing_like_it", None),
    ],
)
def test_the_nearest_key(key, expected):
    assert nearest_key(key, KEYS) == expected


def test_a_key_that_is_like_none_is_answered_with_those_beside_it():
    assert suggest_key("trainer.zzz", KEYS) == "; trainer has epochs, max_steps"
    assert suggest_key("zzz", KEYS) == "; the top level has seed"
    assert suggest_key("zzz.a", KEYS) == ""
