"""Means over folds and seeds, worked out by hand."""

import csv

import pytest

from segtrain.run.leaderboard import Job, means, show_leaderboard


def job(number, words, iou=None, error=""):
    scores = {} if iou is None else {"iou": iou, "f1": None}

    class Planned:
        folder = f"sweep/{number}"

    return Job(number, tuple(words.split()), Planned(), scores, error=error)


JOBS = [
    job(1, "arch=fpn data.fold=0", 0.5),
    job(2, "arch=fpn data.fold=1", 0.7),
    job(3, "arch=unet data.fold=0", 0.65),
    job(4, "arch=unet data.fold=1", error="failed"),
]


def test_jobs_that_differ_in_the_fold_alone_have_a_mean_and_a_deviation():
    fpn, unet = means(JOBS, ["iou", "f1"])
    assert fpn.varied == ("arch=fpn",)
    assert (fpn.jobs, fpn.missing) == (2, 0)
    assert fpn.scores["iou"] == (pytest.approx(0.6), pytest.approx(0.1414213562))  # sqrt(2 * 0.1**2 / (2 - 1))
    assert (unet.jobs, unet.missing, unet.scores) == (1, 1, {"iou": (0.65, None)})


def test_the_means_are_ranked_and_written_beside_the_leaderboard(tmp_path, capsys):
    show_leaderboard(JOBS, "iou", tmp_path, has_one_loss=True)
    with (tmp_path / "means.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["varied"], row["jobs"], row["without_scores"]) for row in rows] == [
        ("1", "arch=unet", "1", "1"),
        ("2", "arch=fpn", "2", "0"),
    ]
    assert float(rows[1]["iou_std"]) == pytest.approx(0.1414213562)
    assert "0.6000 ± 0.1414" in capsys.readouterr().out


def test_without_folds_and_seeds_there_are_no_means(tmp_path):
    show_leaderboard([job(1, "arch=fpn", 0.5), job(2, "arch=unet", 0.6)], "iou", tmp_path, has_one_loss=True)
    assert not (tmp_path / "means.csv").exists()
