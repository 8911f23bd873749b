"""Reading the results of a sweep or a search for their page."""

import json

import pytest

from segtrain.errors import ConfigError
from segtrain.run.results import is_sweep, monitor_of, read_results, write_page


def entry(number, varied, iou):
    scores = {} if iou is None else {"iou": iou}
    return {"number": number, "varied": varied, "scores": scores, "state": "finished", "seconds": 1.0, "error": ""}


def test_jobs_of_a_sweep_have_typed_values_and_are_ranked(tmp_path):
    words = [
        ["optimizer.lr=0.001", "arch=fpn", "x=null", "seed=0"],
        ["optimizer.lr=1e-4", 'arch="unet"', "x=true", "seed=1"],
    ]
    jobs = [entry(1, words[0], 0.5), entry(2, words[1], 0.6), entry(3, words[0], None)]
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    assert is_sweep(tmp_path)
    best, _, last = read_results(tmp_path, "iou")
    assert (best.number, best.varied) == (2, {"optimizer.lr": 1e-4, "arch": "unet", "x": True, "seed": 1})
    assert (last.number, last.score, last.varied["x"]) == (3, None, None)
    (tmp_path / "verdict.txt").write_text("arch=unet is surely better.\n")
    assert "arch=unet is surely better." in write_page(tmp_path).read_text()
    assert monitor_of(tmp_path) == "iou"
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "report.html").touch()
    assert [job.page for job in read_results(tmp_path, "iou")] == ["", "1/report.html", ""]
    (tmp_path / "1" / "config.yaml").write_text("trainer: {monitor: val/loss}\n")
    assert monitor_of(tmp_path) == "loss"


def test_trials_of_a_search_are_read_too_and_another_folder_is_refused(tmp_path):
    trial = {
        "trial": 0,
        "state": "pruned",
        "score": 0.3,
        "epochs": 1,
        "seconds": None,
        "varied": {"lr": 0.1},
        "error": "",
    }
    (tmp_path / "search.json").write_text(json.dumps({"trials": [trial]}))
    (found,) = read_results(tmp_path, "iou")
    assert (found.number, found.state, found.varied) == (0, "pruned", {"lr": 0.1})
    assert not is_sweep(tmp_path / "other")
    with pytest.raises(ConfigError, match="holds no sweep and no search"):
        read_results(tmp_path / "other", "iou")
