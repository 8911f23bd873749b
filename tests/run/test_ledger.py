"""The ledger of a sweep: what it keeps, and by which jobs it is found again."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from segtrain.errors import ConfigError
from segtrain.run import ledger
from segtrain.run.leaderboard import Job
from segtrain.run.ledger import Ledger, entries_of, hold, is_done, key_of, settle, unfinished


@dataclass
class Planned:
    folder: Path
    job: dict


def made(folder, *rates):
    return [Job(n, (f"lr={lr}",), Planned(folder / str(n), {"lr": lr})) for n, lr in enumerate(rates, 1)]


def written(folder, jobs, words=("lr=1,2",)):
    folder.mkdir(parents=True)
    found = Ledger(folder, key_of(jobs), words, jobs)
    found.write()
    return found


def finish_all(jobs):
    for job in jobs:
        job.state, job.scores = "finished", {"iou": 0.5}


def test_the_unfinished_sweep_of_the_same_jobs_is_found_and_no_other(tmp_path, caplog):
    mine = made(tmp_path / "new", 1, 2)
    new = Ledger(tmp_path / "new", key_of(mine), ("lr=1,2",), mine)
    others = made(tmp_path / "other", 1, 3)
    written(tmp_path / "other", others, ("lr=1,3",))
    done = made(tmp_path / "done", 1, 2)
    finish_all(done)
    written(tmp_path / "done", done)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / ledger.FILE).write_text("")
    assert unfinished(tmp_path.iterdir(), new) is None
    assert "damaged/sweep.json: is no ledger" in caplog.text
    caplog.clear()
    (tmp_path / "damaged" / ledger.FILE).unlink()
    written(tmp_path / "mine", made(tmp_path / "mine", 1, 2))
    assert unfinished(tmp_path.iterdir(), new) == tmp_path / "mine"
    assert caplog.text == ""


def test_the_same_words_with_other_values_are_another_sweep_and_it_is_said(tmp_path, caplog):
    before = made(tmp_path / "before", 1, 4)  # as if a YAML file had changed
    written(tmp_path / "before", before)
    mine = made(tmp_path / "new", 1, 2)
    assert unfinished(tmp_path.iterdir(), Ledger(tmp_path / "new", key_of(mine), ("lr=1,2",), mine)) is None
    assert "unfinished sweep of these words, but with other values" in caplog.text


def test_jobs_get_their_results_and_those_left_in_the_middle_their_state(tmp_path):
    jobs = made(tmp_path / "a", 1, 2, 3, 4)
    jobs[0].state, jobs[0].scores, jobs[0].parameters, jobs[0].seconds = "finished", {"iou": 0.7}, 10, 2.5
    jobs[1].state, jobs[2].state, jobs[2].error = "running", "failed", "no memory"
    written(tmp_path / "a", jobs)
    again = made(tmp_path / "a", 1, 2, 3, 4)
    Ledger(tmp_path / "a", "", (), again).take_over(entries_of(tmp_path / "a")["jobs"])
    assert [job.state for job in again] == ["finished", "interrupted", "interrupted", "waiting"]
    assert (again[0].scores, again[0].parameters, again[0].seconds) == ({"iou": 0.7}, 10, 2.5)
    assert again[2].error == ""
    assert not is_done(entries_of(tmp_path / "a"))


def test_a_job_that_ended_before_its_sweep_could_note_it_is_finished(tmp_path):
    (job,) = made(tmp_path, 1)
    job.state = "running"
    job.plan.folder.mkdir()
    status = {"state": "finished", "step": 3, "steps": 3, "parameters": 7, "seconds": 1.5}
    (job.plan.folder / "status.json").write_text(json.dumps(status))
    (job.plan.folder / "scores.json").write_text(json.dumps({"val": {"iou": 0.25, "step": 3}}))
    settle(job)
    assert (job.state, job.scores["iou"], job.parameters, job.seconds) == ("finished", 0.25, 7, 1.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "key": "", "words": [], "jobs": [{}]}'])
def test_a_damaged_ledger_is_named(tmp_path, text):
    (tmp_path / ledger.FILE).write_text(text)
    with pytest.raises(ConfigError, match="is no ledger of a sweep"):
        entries_of(tmp_path)


def test_one_process_holds_a_sweep(tmp_path):
    lock = hold(tmp_path)
    with pytest.raises(ConfigError, match=r"process \d+ on .* is running this sweep; wait until it ends"):
        hold(tmp_path)
    lock.release()
    hold(tmp_path).release()
