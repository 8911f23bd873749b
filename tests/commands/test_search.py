"""Searching: trials that are pruned, taken over from killed processes, and shared by several."""

import csv
import json
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.training.trainer import Trainer
from tests.conftest import TINY
from tests.processes import kill_when, run, start

pytest.importorskip("optuna")
SMALL = (*TINY, "data.train=8", "trainer.log_every=1", "checkpoint.every_steps=1", "checkpoint.in_background=false")
SPACE = "space={optimizer.lr: 1e-5..1e-1 log, arch: [fpn, unet]}"
LINE = ("search", SPACE, *SMALL, "trainer.epochs=3", "pruner=median", "output=found")


def table(folder="found"):
    with Path(folder, "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def steps(folder):
    rows = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["split"] == "train"]


def has_lines(file, count):
    return Path(file).is_file() and Path(file).read_text().count("\n") >= count


def break_off(monkeypatch, step):
    """End a training at a step as a kill does: nothing is saved or told any more."""
    end_step = Trainer.end_step

    def ending(trainer, group):
        end_step(trainer, group)
        if trainer.state.step == step and trainer.log.folder.name == "1":
            monkeypatch.setattr(Trainer, "end_step", end_step)
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "end_step", ending)


def test_a_search_that_broke_off_goes_on_and_finds_what_one_finds_that_did_not(here, monkeypatch, capsys):
    line = [*LINE, "trials=2", "sampler=random"]
    break_off(monkeypatch, step=4)  # in the second epoch of the second trial
    assert main(line) == 130
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert "going on from found/1/checkpoints/last.pt, step 4" in printed
    assert printed.count("trial 0 of 2") == 1
    assert [steps(f"found/{n}") for n in range(2)] == [list(range(1, 7))] * 2
    assert main([*line, "output=whole"]) == 0
    assert table() == table("whole")
    assert json.loads(Path("found/search.json").read_text())["trials"][0]["varied"].keys() == {"optimizer.lr", "arch"}
    assert "What mattered" in Path("found/report.html").read_text()


def test_a_pruned_trial_is_said_and_its_folder_is_a_run(here, monkeypatch, capsys):
    from optuna.pruners import ThresholdPruner

    from segtrain.run import study

    monkeypatch.setattr(study, "pruner_of", lambda config, epochs: ThresholdPruner(lower=2.0))  # of all
    assert main([*LINE, "trials=1"]) == 1
    printed = capsys.readouterr().out
    assert "trial 0 is pruned, at step 2 of 6" in printed
    assert "1 trials: 1 pruned; written to" in printed
    assert [(row["state"], row["epochs"]) for row in table()] == [("pruned", "1")]
    assert main(["runs", "found", "format=json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["state"], found["step"]) == ("found/0", "pruned", 2)
    assert main(["resume", "found/0"]) == 0  # it can be trained to its end all the same
    assert steps("found/0") == list(range(1, 7))


def test_mistakes_are_found_before_the_first_trial(here, refused):
    lines = refused("search", "space={optimizer.lr: -1.0..1.0, arch: [fpn, unett], sed: [1, 2]}", *SMALL)
    said = "\n".join(lines)
    assert "optimizer.lr: expected more than 0, got -1.0" in said
    assert "arch=unett: no such choice, did you mean 'unet'" in said
    assert "sed: unknown key, did you mean 'seed'" in said
    assert len(lines) == 3
    assert "each trial has a run of its own" in refused("search", SPACE, *SMALL, "hydra.run.dir=x")[0]
    assert "space: missing; add space=..." in refused("search", *SMALL)[0]
    assert not Path("outputs").exists()


def test_another_search_in_the_same_folder_is_refused(here, refused):
    from segtrain.config.space import read_space
    from segtrain.config.studies import SearchConfig
    from segtrain.run.study import Search

    config = SearchConfig(space={}, trials=2, sampler="tpe", pruner="none", storage=None, output="found")
    space = read_space({"optimizer.lr": "1e-5..1e-1 log"})
    Search(config, Path("found"), space, ["arch=fpn"], seed=0, epochs=3)
    (line,) = refused(*LINE)
    assert "output=found: holds a search with another space or other words" in line
    (line,) = refused(*LINE, "storage=nosuch://x", "output=other")
    assert line.startswith("segtrain: storage=nosuch://x: cannot be used")


def test_a_trial_that_a_process_holds_is_left_to_it(here):
    from segtrain.config.space import read_space
    from segtrain.config.studies import SearchConfig
    from segtrain.run.study import Search

    config = SearchConfig(
        space={}, trials=2, sampler="random", pruner="none", storage="sqlite:///study.db", output="found"
    )
    space = read_space({"optimizer.lr": "1e-5..1e-1 log"})
    mine, other = (Search(config, Path("found"), space, [], seed=0, epochs=3) for _ in range(2))
    first, second = mine.take(), other.take()
    assert (first.trial.number, second.trial.number) == (0, 1)
    assert mine.take() is None
    first.lock.release()  # as if its process were killed
    again = other.take()
    assert (again.trial.number, again.is_taken_over, again.values) == (0, True, first.values)
    assert first.values != second.values


@pytest.mark.slow
def test_a_search_of_twenty_killed_twice_goes_on_and_says_what_was_pruned(here):
    line = [*LINE, "trials=20", "pruner=hyperband", "trainer.epochs=4"]
    for trial in (3, 11):
        process = start(*line, output=here / f"killed{trial}")
        kill_when(process, lambda trial=trial: has_lines(f"found/{trial}/metrics.jsonl", 1))
    printed = run(*line, output=here / "last")
    pruned = [row for row in table() if row["state"] == "pruned"]
    assert pruned
    assert f"20 trials: {20 - len(pruned)} finished, {len(pruned)} pruned; written to" in printed
    for row in table():
        done = steps(f"found/{row['trial']}")
        assert done == list(range(1, 2 * int(row["epochs"]) + 1))  # each step once
    Path("found").rename("killed")  # Optuna's hyperband draws brackets by the name of the study, which is the folder's
    run(*line, output=here / "whole.txt")
    assert table("killed") == table("found")
