"""Sweeps: what the table shows, and what becomes of jobs that cannot be built."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.commands.sweep import make_sweep_folder
from segtrain.terminal.console import out
from tests.conftest import TINY

RUN = ("-m", *TINY, "arch=fpn", "data.train=8", "trainer.max_steps=1")


def table(folder):
    with (folder / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_lists_of_names_stand_in_the_table_as_they_were_typed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 250)
    words = ["loss.classes=[disc],[disc,star]", f"hydra.sweep.dir={tmp_path}"]
    assert main([*RUN, *words]) == 0
    printed = capsys.readouterr().out
    shown = [line for line in printed.splitlines() if re.match(r"│ +\d", line)]
    assert (
        sorted("[disc]" in line for line in shown) == sorted("[disc,star]" in line for line in shown) == [False, True]
    )
    assert (
        {row["job"] for row in table(tmp_path)}
        == {"1", "2"}
        == {path.name for path in tmp_path.iterdir()} - {"leaderboard.csv", "sweep.json", "verdict.txt", "report.html"}
    )
    assert "job 2 of 2: loss.classes=[disc,star]" in printed


def test_losses_of_different_kinds_have_no_column(tmp_path, capsys):
    assert (
        main([*RUN, "loss=dice,cross_entropy", "trainer.monitor=val/loss", f"hydra.sweep.dir={tmp_path / 'two'}"]) == 0
    )
    assert "different losses, whose values cannot be compared: take trainer.monitor=val/iou" in capsys.readouterr().out
    assert "loss" not in table(tmp_path / "two")[0]
    assert main([*RUN, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'one'}"]) == 0
    assert float(table(tmp_path / "one")[0]["loss"]) > 0


def test_a_job_that_cannot_be_built_is_named_once_and_the_others_go_on(tmp_path, capsys):
    words = ["encoder=test_vit,test_resnet", "encoder.freeze=2", f"hydra.sweep.dir={tmp_path}"]
    assert main([*[word for word in RUN if not word.startswith("encoder")], *words]) == 1
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("plain transformer") == 1
    assert printed.err == "segtrain: 1 of 2 jobs failed: 1; see above\n"
    assert [row["job"] for row in table(tmp_path)] == ["2", "1"]
    assert "plain transformer" in table(tmp_path)[1]["error"]


def test_two_sweeps_of_the_same_second_have_two_folders(tmp_path):
    folder = tmp_path / "now"
    made = [make_sweep_folder(folder) for _ in range(3)]
    assert made == [folder, Path(f"{folder}-2"), Path(f"{folder}-3")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["loss=ce_dice", "loss.terms.dice.weight=0.5"], "cross_entropy + 0.5 dice"),
        (["loss=dice"], "DiceLoss"),
        (["loss=ce_dice", "loss.terms.dice.weight=0"], "cross_entropy"),
    ],
)
def test_hyper_parameters_say_what_a_sum_is_made_of(words, expected):
    from segtrain.build.parts import checked_config
    from segtrain.config.choices import choices
    from segtrain.run.plan import make_plan

    found = choices(checked_config(make_plan([*TINY, *words, "data.image_size=[32,48]", "trainer.epochs=7"]).job))
    assert found["loss"] == expected
    assert found["image_size"] == "32x48"
    assert found["augment"] == "HorizontalFlip RandomBrightnessContrast"
    assert (found["arch"], found["encoder"], found["weights"], found["epochs"]) == ("unet", "test_resnet", "none", 7)
    assert all(isinstance(value, str | int | float) for value in found.values())


def test_each_job_is_composed_once_and_reads_the_weights_that_it_starts_from_once(tmp_path, monkeypatch):
    from segtrain.run import checkpoint, plan

    assert main([*RUN[1:], f"hydra.run.dir={tmp_path / 'donor'}"]) == 0
    counts = Counter()

    def counting(name, function):
        def counted(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(plan, "compose", counting("composed", plan.compose))
    monkeypatch.setattr(checkpoint, "read", counting("read", checkpoint.read))
    words = [word for word in RUN if not word.startswith(("arch", "encoder"))]
    swept = [f"init_from={tmp_path / 'donor'}", "optimizer.lr=1e-3,1e-4,1e-5", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert main([*words, *swept]) == 0
    assert [float(row["iou"]) >= 0 for row in table(tmp_path / "sweep")] == [True] * 3
    assert counts == {"composed": 3, "read": 1 + 3}  # the model's config once for all jobs, its weights for each
