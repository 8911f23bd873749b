"""What a report folder holds comes back as it was."""

import csv

import pytest
import torch

from segtrain.errors import DataError
from segtrain.evaluation.reports import Report, find_reports, read_report, write_confusion, write_report
from segtrain.metrics import METRICS, REDUCTIONS, count, scores
from segtrain.task import Binary, Multiclass, Multilabel


def a_report(task, shape=(3,)):
    generator = torch.Generator().manual_seed(0)
    shape = (*shape, len(task.class_names), 8, 8) if task.mode == "multilabel" else (*shape, 8, 8)
    truth, said = (torch.randint(task.num_labels, shape, generator=generator) for _ in range(2))
    truth[0] = task.ignore_index
    counts = count(said, truth, task)
    ids = ("a/x", "b,y", 'c"z')
    return Report(task.mode, task.class_names, ids, counts, scores(counts, task.class_names), {"at": "input"})


@pytest.mark.parametrize("task", [Binary(["pet"]), Multiclass(["road", "a, b", "sky"]), Multilabel(["x", "y"])])
def test_a_report_comes_back_as_it_was_written(task, tmp_path):
    report = a_report(task)
    write_report(tmp_path, report)
    again = read_report(tmp_path)
    assert (again.mode, again.class_names, again.ids, again.about) == (
        report.mode, report.class_names, report.ids, report.about,
    )  # fmt: skip
    assert again.scores == report.scores
    pairs = zip(again.counts.tensors(), report.counts.tensors(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_the_table_of_images_holds_their_scores(tmp_path):
    report = a_report(Multiclass(["a", "b"]))
    write_report(tmp_path, report)
    rows = list(csv.DictReader((tmp_path / "images.csv").open()))
    assert [row["id"] for row in rows] == list(report.ids)
    assert rows[0]["iou"] == ""  # all of it is ignored
    tp, fp, fn = (torch.tensor([float(rows[1][f"{kind}:{name}"]) for name in "ab"]) for kind in ("tp", "fp", "fn"))
    assert float(rows[1]["iou"]) == pytest.approx(float((tp / (tp + fp + fn)).mean()), abs=1e-6)


def test_the_table_of_metrics_holds_each_in_every_reduction_and_for_each_class_with_its_definition(tmp_path):
    report = a_report(Multiclass(["a", "b"]))
    write_report(tmp_path, report)
    rows = {row["metric"]: row for row in csv.DictReader((tmp_path / "metrics.csv").open())}
    assert list(rows) == list(METRICS)
    for name, metric in METRICS.items():
        reduced = [float(reduce(report.counts, metric)) for reduce in REDUCTIONS.values()]
        written = [float(rows[name][column]) for column in (*REDUCTIONS, "a", "b")]
        assert written == pytest.approx([*reduced, *metric(report.counts.total()).tolist()], abs=1e-6)
        assert "/" in rows[name]["definition"]


@pytest.mark.parametrize(("asked", "found"), [(None, "test"), ("val", "val")])
def test_the_report_of_a_run_is_that_of_its_test_split_unless_another_is_asked_for(asked, found, tmp_path):
    for split in ("test", "val"):
        folder = tmp_path / "eval" / split
        folder.mkdir(parents=True)
        write_report(folder, a_report(Binary()))
    assert find_reports([tmp_path], asked) == [tmp_path / "eval" / found]
    assert find_reports([tmp_path / "eval" / "val"], None) == [tmp_path / "eval" / "val"]


def test_a_run_without_a_report_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match=r"holds no scores of test yet; run: segtrain eval .* data.split=test"):
        find_reports([tmp_path], None)
    with pytest.raises(DataError, match="no such folder"):
        find_reports([tmp_path / "nowhere"], None)


def test_a_damaged_report_is_said_in_one_line(tmp_path):
    write_report(tmp_path, a_report(Binary()))
    table = tmp_path / "images.csv"
    table.write_text(table.read_text().replace("tp:foreground", "tp:other"))
    with pytest.raises(DataError, match="is not a whole report"):
        read_report(tmp_path)


def test_the_confusion_matrix_is_a_table_of_true_and_predicted_labels(tmp_path):
    write_confusion(tmp_path, torch.tensor([[[5, 1], [2, 3]]]), Binary(["pet"]))
    assert list(csv.reader((tmp_path / "confusion.csv").open())) == [
        ["truth", "background", "pet"],
        ["background", "5", "1"],
        ["pet", "2", "3"],
    ]
    write_confusion(tmp_path, torch.tensor([[[5, 1], [2, 3]], [[1, 2], [3, 4]]]), Multilabel(["x", "y"]))
    rows = list(csv.reader((tmp_path / "confusion.csv").open()))
    assert rows[0] == ["class", "truth", "absent", "present"]
    assert rows[4] == ["y", "present", "3", "4"]
