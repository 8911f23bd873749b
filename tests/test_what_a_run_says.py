"""What training says: what begins, a line an epoch, why it ends, the best at the end, and what can be done next."""

import json
import logging
import re

import pytest

from segtrain import console
from segtrain.cli import main
from tests.conftest import TINY

RUN = (*TINY, "arch=fpn", "data.train=16")


def said(capsys, folder, *words):
    assert main([*RUN, *words, f"hydra.run.dir={folder}"]) == 0
    return capsys.readouterr().out


def test_a_run_says_what_it_trains_and_ends_with_the_table_of_its_best_validation(tmp_path, capsys):
    words = said(capsys, tmp_path, "trainer.epochs=4", "data.image_size=[32,40]", "trainer.precision=fp32")
    assert re.search(r"^cpu \(\d+ threads\) in fp32, \d+\.\d\d million parameters$", words, re.MULTILINE)
    assert "16 images to train on, 8 to validate, at 32x40\n4 steps an epoch, 16 in all\n" in words
    assert words.count("┃ class") == words.count("mean ") == 1
    lines = re.findall(r"^epoch (\d): val iou (\S+), f1 \S+, accuracy \S+, loss \S+?( \(best\))?$", words, re.MULTILINE)
    assert [epoch for epoch, _, _ in lines] == ["1", "2", "3", "4"]
    best = [(epoch, iou) for epoch, iou, is_best in lines if is_best][-1]
    assert float(best[1]) == max(float(iou) for _, iou, _ in lines)
    assert f"best validation: epoch {best[0]}, step {4 * int(best[0])}: iou {best[1]}," in words
    assert words.endswith(
        f"to score it: segtrain eval {tmp_path}\n"
        f"to use it: segtrain predict {tmp_path} photos masks\ndone: {tmp_path}\n"
    )


def test_a_run_that_ends_early_says_why(tmp_path, capsys):
    words = said(capsys, tmp_path, "trainer.epochs=30", "trainer.patience=2", "optimizer.lr=1e-12")
    assert "stopped at step 12 of 120: 2 validations brought nothing better (trainer.patience)" in words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["encoder.freeze=true"], "encoder.freeze=true: holds random weights still; set encoder.weights=imagenet"),
        (
            ["encoder.unfreeze_at_epoch=1"],
            "encoder.unfreeze_at_epoch=1: nothing is frozen until then; add encoder.freeze=true",
        ),
    ],
)
def test_freezing_that_cannot_be_meant_is_one_line(tmp_path, capsys, words, expected):
    printed = said(capsys, tmp_path, "trainer.max_steps=1", *words)
    assert printed.count(expected) == 1
    assert ("of which" in printed) == ("encoder.freeze=true" in words)


def test_a_frozen_encoder_with_weights_is_as_it_should_be(tmp_path, capsys):
    said(capsys, tmp_path / "first", "trainer.max_steps=1")
    words = [word for word in RUN if not word.startswith(("arch", "encoder"))]
    frozen = [f"init_from={tmp_path / 'first'}", "encoder.freeze=true", f"hydra.run.dir={tmp_path / 'next'}"]
    assert main([*words, *frozen, "trainer.max_steps=1"]) == 0
    assert "random weights" not in capsys.readouterr().out


def test_lines_that_a_bar_shows_already_are_for_the_file_alone(tmp_path, capsys, monkeypatch):
    display = console.Display()
    values = {"loss": 0.5, "lr": 1e-3, "images_per_second": 9.0, "data_share": 0.5, "steps_per_second": 1.0}
    console.start_logging()
    with console.logging_to(tmp_path / "log"):
        display.training(0, 10, 100, values)
        monkeypatch.setattr(display, "bars", Bars())
        display.steps = 0
        display.training(0, 20, 100, values)
    logging.getLogger("segtrain").info("after")
    printed, written = capsys.readouterr().out, (tmp_path / "log").read_text()
    assert ["step 10/100" in text for text in (printed, written)] == [True, True]
    assert ["step 20/100" in text for text in (printed, written)] == [False, True]


class Bars:
    def update(self, task, *, description, status):
        assert (description, status.startswith("loss 0.5000")) == ("epoch 1", True)


def test_the_line_of_an_epoch_holds_what_is_monitored(tmp_path, capsys):
    words = said(capsys, tmp_path, "trainer.epochs=2", "trainer.monitor=val/iou_imagewise")
    shown = re.findall(r"^epoch \d: val iou .*, loss \S+, iou imagewise (\S+)", words, re.MULTILINE)
    entries = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert shown == [f"{entry['iou_imagewise']:.4f}" for entry in entries if entry["split"] == "val"]
    assert len(shown) == 2
