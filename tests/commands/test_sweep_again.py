"""The same line again: finished jobs are skipped, interrupted ones go on, and the table is that of one go."""

import csv
import json
import re
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.run.folders import Lock
from segtrain.training.trainer import Trainer
from tests.conftest import TINY
from tests.processes import kill_when, run, run_ranks, start, start_ranks

LINE = (
    "-m",
    *TINY,
    "checkpoint.in_background=false",
    "arch=fpn",
    "data.train=12",
    "trainer.epochs=2",
    "trainer.log_every=1",
    "checkpoint.every_steps=1",
    "optimizer.lr=1e-3,1e-2",
)


def table(folder):
    with (folder / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("seconds", "folder")} for row in rows]


def steps(folder):
    """The steps in metrics.jsonl of a run: each once, whatever was killed."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["split"] == "train"]


def starts(folder):
    return [entry["step"] for entry in json.loads((folder / "environment.json").read_text())]


def lines_in(file):
    return file.read_text().count("\n") if file.is_file() else 0


def folders_of_sweeps():
    return sorted(path for path in Path("outputs/sweeps").iterdir() if path.is_dir())


def test_a_sweep_that_broke_off_goes_on_by_the_same_line_and_computes_nothing_twice(here, monkeypatch, capsys, refused):
    end_step = Trainer.end_step

    def ending(trainer, group):
        end_step(trainer, group)
        if trainer.state.step == 4 and trainer.log.folder.name == "2":  # the second job, in its second epoch
            monkeypatch.setattr(Trainer, "end_step", end_step)
            raise KeyboardInterrupt  # as a kill does: nothing is saved or told any more

    monkeypatch.setattr(Trainer, "end_step", ending)
    assert main([*LINE]) == 130
    (folder,) = folders_of_sweeps()
    capsys.readouterr()
    lock = Lock.take(folder)
    assert "is running this sweep; wait until it ends, or add sweep.fresh=true for another" in refused(*LINE)[0]
    lock.release()
    other = refused(*LINE, f"hydra.sweep.dir={folder}", "trainer.max_steps=2")[0]
    assert "holds the sweep of other jobs, expected the same jobs" in other
    assert main([*LINE]) == 0
    printed = capsys.readouterr().out
    assert folders_of_sweeps() == [folder]
    assert f"going on with the sweep in {folder}: 1 finished, 1 interrupted" in printed
    assert "finished before, in" in printed
    assert (starts(folder / "1"), starts(folder / "2")) == ([0], [0, 4])
    assert [steps(folder / name) for name in "12"] == [list(range(1, 7))] * 2
    assert main([*LINE, "hydra.sweep.dir=whole"]) == 0
    assert table(folder) == table(Path("whole"))
    assert main([*LINE, "hydra.sweep.dir=whole"]) == 0  # a folder that was chosen: all is done
    assert starts(Path("whole/2")) == [0]
    Path("whole/report.html").unlink()
    assert main(["report", "whole"]) == 0
    assert "optimizer.lr" in Path("whole/report.html").read_text(encoding="utf-8")
    assert "is a sweep, whose page is report.html in it" in refused("report", "whole", "data.split=test")[0]


def test_a_job_that_failed_is_tried_again(here, capsys):
    words = [word for word in LINE if not word.startswith(("optimizer.lr", "trainer.epochs", "logger"))]
    line = [*words, "logger=none", "trainer.max_steps=1", "device=cpu,mps"]
    assert main(line) == 1
    assert main(line) == 1
    printed = capsys.readouterr()
    assert "1 finished, 1 interrupted" in printed.out
    assert printed.err.count("1 of 2 jobs failed: 2") == 2
    (folder,) = folders_of_sweeps()
    assert starts(folder / "1") == [0]
    assert main([*line, "sweep.fresh=true"]) == 1
    assert len(folders_of_sweeps()) == 2


def test_keys_of_a_sweep_need_a_sweep(refused):
    assert refused("sweep.dry_run=true") == [
        "segtrain: sweep.dry_run: is of sweeps, expected a line with -m; add -m, or leave it out"
    ]
    assert "did you mean 'sweep.dry_run'" in refused("-m", "seed=0,1", "sweep.dryrun=true")[0]


def test_a_dry_run_tells_the_jobs_and_their_time_and_writes_nothing(here, capsys):
    assert main([*LINE, "sweep.dry_run=true"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"optimizer.lr=0.001 +│ waiting │ +\d.\d\d M │ +6 │ +0:00:\d\d │ measured ", printed)
    assert "measured as job 1" in printed
    assert "2 of 2 jobs to run" in printed
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_a_sweep_of_six_killed_twice_ends_as_one_that_was_not(here):
    line = [word.replace("1e-3,1e-2", "1e-3,3e-3,1e-2") for word in LINE] + ["seed=0,1"]
    for job, name in ((2, "first"), (5, "second")):
        process = start(*line, output=here / name)
        kill_when(
            process,
            lambda job=job: any(lines_in(file) >= 4 for file in Path("outputs/sweeps").glob(f"*/{job}/metrics.jsonl")),
        )
    run(*line, output=here / "third")
    (folder,) = folders_of_sweeps()
    assert len(table(folder)) == 6
    assert [len(starts(folder / str(n))) for n in range(1, 7)] == [1, 2, 1, 1, 2, 1]
    assert [steps(folder / str(n)) for n in range(1, 7)] == [list(range(1, 7))] * 6
    assert main([*line, "hydra.sweep.dir=whole"]) == 0
    assert table(folder) == table(Path("whole"))
    assert (folder / "means.csv").read_text() == Path("whole/means.csv").read_text()


@pytest.mark.slow
def test_two_processes_go_on_with_a_sweep_that_was_killed(here):
    line = [*LINE, "device=cpu"]
    ranks = start_ranks(2, *line, output=here / "first")
    kill_when(ranks[0], lambda: any(lines_in(file) >= 2 for file in Path("outputs/sweeps").glob("*/2/metrics.jsonl")))
    ranks[1].kill()
    ranks[1].join()
    printed, _ = run_ranks(2, *line, output=here / "second")
    (folder,) = folders_of_sweeps()
    assert "1 finished, 1 interrupted" in printed
    assert "finished before, in" in printed
    assert (len(starts(folder / "1")), len(starts(folder / "2"))) == (1, 2)
    run_ranks(2, *line, "hydra.sweep.dir=whole", output=here / "third")
    assert table(folder) == table(Path("whole"))
