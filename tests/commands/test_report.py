"""`segtrain report`: its pages are parsed, and their numbers compared with those that the run folder holds."""

import csv
import json
import logging
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from segtrain.cli import main
from segtrain.data.palette import palette
from segtrain.evaluation.reports import read_report
from segtrain.run.pages.reading import RunFiles, read_history
from segtrain.run.pages.writing import leave_page, write_page
from tests.commands.test_evaluate import write_blobs
from tests.conftest import TINY
from tests.drawing.html import parse

NAMES = ["background", "disc", "square", "triangle", "star"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs as training left them: that at another learning rate is a copy with another config and history."""
    folder = tmp_path_factory.mktemp("report")
    assert main([*TINY, "trainer.epochs=2", f"hydra.run.dir={folder / 'a'}"]) == 0
    words = [*TINY, "trainer.epochs=2", "optimizer.lr=0.02", f"hydra.run.dir={folder / 'b'}"]
    assert main(words) == 0
    return folder


@pytest.fixture(scope="module")
def left(runs):
    """The page that training wrote, and the scores that it found, before anything else wrote there."""
    scores = json.loads((runs / "a" / "scores.json").read_text())["val"]
    return parse((runs / "a" / "report.html").read_text()), scores


@pytest.fixture(scope="module")
def full(runs, left):
    """The run folder after `segtrain report`, with its page."""
    assert main(["report", str(runs / "a"), "eval.bootstrap=50"]) == 0
    return runs / "a", parse((runs / "a" / "report.html").read_text())


def numbers(row):
    """The first word of each cell after the first, as a number."""
    return [float(cell.split()[0].rstrip("%").replace(",", "")) for cell in row[1:]]


def test_training_leaves_a_page_with_its_scores_and_curves(runs, left):
    left, scores = left
    table = left.tables["Each class over all images, with its interval"]
    assert [row[0] for row in table[1:]] == NAMES
    for row in table[1:]:
        assert numbers(row)[0] == pytest.approx(scores["per_class"][row[0]]["iou"], abs=5e-5)
    assert left.texts("h2") == ["Scores", "Curves", "Classes", "Confusion", "Images", "Config", "What it ran on"]
    assert any(f"segtrain report {runs / 'a'}" in text for text in left.texts("code"))
    losses = left.tables["Loss, by step"]
    assert [row[0] for row in losses[1:]] == ["10", "20"]


def test_the_curves_are_those_of_metrics_jsonl(full):
    folder, page = full
    history = read_history(folder / "metrics.jsonl")
    val = {str(row["step"]): row for row in history if row["split"] == "val"}
    table = page.tables["Validation scores, by step"]
    assert table[0] == ["step", "iou", "f1", "accuracy"]
    assert len(table) == 3
    for row in table[1:]:
        assert numbers(row) == pytest.approx([val[row[0]][name] for name in ("iou", "f1", "accuracy")], abs=5e-4)


def test_the_tables_are_those_of_the_evaluation(full):
    folder, page = full
    report = read_report(folder / "eval" / "val")
    assert report.about["command"] == "eval"
    scores = report.scores
    shown = {row[0]: row for row in page.tables["Scores"][1:]}
    assert float(shown["IoU"][1]) == pytest.approx(scores["iou"], abs=5e-5)
    assert shown["IoU"][2] == "{:.4f} to {:.4f}".format(*scores["intervals"]["iou"])
    for row in page.tables["Each class over all images, with its interval"][1:]:
        of_class = scores["per_class"][row[0]]
        expected = [of_class[key] for key in ("iou", "f1", "precision", "recall", "accuracy")]
        assert numbers(row)[:5] == pytest.approx(expected, abs=5e-5)
        assert "{:.4f} to {:.4f}".format(*scores["intervals"]["per_class"][row[0]]["iou"]) in row[1]
    for row in page.tables["Thresholds"][1:]:
        found = scores["thresholds"][row[0]]
        expected = [found[key] for key in ("average_precision", "threshold", "iou", "f1", "precision", "recall")]
        assert numbers(row) == pytest.approx(expected, abs=5e-5)
    reliability = page.tables["Reliability"][1:]
    assert [row[1] for row in reliability] == [f"{row['decisions']:,}" for row in scores["calibration"]["reliability"]]


def test_the_confusion_matrix_is_in_shares_of_the_truth(full):
    folder, page = full
    rows = list(csv.reader((folder / "eval" / "val" / "confusion.csv").open()))[1:]
    table = page.tables["Predicted labels, as shares of each true one"][1:]
    assert len(table) == len(rows) == 5
    for shown, row in zip(table, rows, strict=True):
        pixels = np.array(row[1:], int)
        assert numbers(shown) == pytest.approx((100 * pixels / pixels.sum()).tolist(), abs=0.051)
        assert [cell.split()[1] for cell in shown[1:]] == [f"{each:,}" for each in pixels]


def test_pictures_show_the_worst_and_best_images_of_each_class(full):
    folder, page = full
    report = read_report(folder / "eval" / "val")
    values = {name: dict(zip(report.ids, column, strict=True)) for name, column in _ious(report).items()}
    pictures = [image for image in page.of("img") if "IoU" in image["alt"]]
    assert len(pictures) == 5 * 8  # of 8 images the 4 worst and the 4 best
    for image in pictures:
        name, rest = image["alt"].split(": ", 1)
        class_name = rest.split(",")[0]
        assert float(rest.split("IoU ")[1].split(",")[0]) == pytest.approx(values[class_name][name], abs=5e-4)
        assert image["src"].startswith("data:image/jpeg;base64,")


def _ious(report):
    tp, fp, fn = report.counts.tp.double(), report.counts.fp, report.counts.fn
    table = tp / (tp + fp + fn)
    return {name: table[:, number].tolist() for number, name in enumerate(report.class_names)}


def test_objects_and_bands_hold_all_that_is_in_the_truth(full):
    folder, page = full
    support = read_report(folder / "eval" / "val").counts.support().sum(0).tolist()
    bands = page.tables["IoU by distance from the contour of the class"][1:]
    held = [sum(int(cell.split()[-2].replace(",", "")) for cell in row[1:] if cell) for row in bands]
    assert held == support
    sizes = page.tables["Mean IoU of objects, by area"][1:]
    assert [row[0] for row in sizes] == NAMES


def test_a_second_report_is_of_what_was_found_before(full, monkeypatch, caplog):
    folder, _ = full

    def refuse(*_):
        raise AssertionError("the model ran again")

    with monkeypatch.context() as patch:
        patch.setattr("segtrain.commands.report.open_all", refuse)
        before = (folder / "report.html").read_bytes()
        assert main(["report", str(folder), "eval.bootstrap=50"]) == 0
        assert (folder / "report.html").read_bytes() == before
        for other in ("eval.bootstrap=40", "fresh=true", "pictures=1", "data.limit=3"):
            with pytest.raises(AssertionError, match="ran again"):
                main(["report", str(folder), "eval.bootstrap=50", other])


def test_what_was_found_of_another_evaluation_is_not_shown(full, tmp_path):
    folder, _ = full
    copy = shutil.copytree(folder, tmp_path / "copy")
    report = copy / "eval" / "val" / "report.json"
    report.write_text(report.read_text().replace('"images": 8', '"images":  8'))
    assert RunFiles.of(copy, "val").look is None
    assert "Suspected labels" not in parse(write_page(copy).read_text()).texts("h2")


def test_other_splits_have_a_page_of_their_own(full):
    folder, _ = full
    words = ["data.split=test", "eval.bootstrap=0", "eval.curves=false", "pictures=0", "suspects=0"]
    assert main(["report", str(folder), *words]) == 0
    page = parse((folder / "report-test.html").read_text())
    assert page.texts("h1")[0].endswith(": test")
    assert "Thresholds" not in page.texts("h2")
    assert not any("IoU" in image["alt"] for image in page.of("img"))
    assert "Object size" in page.texts("h2")


def test_several_runs_are_compared(runs, full, here):
    assert main(["report", str(runs / "a"), str(runs / "b"), "split=val", "output=first.html"]) == 0
    page = parse((here / "first.html").read_text())
    (told,) = [words for words in page.texts("p") if "cannot be compared" in words]
    assert "was scored with at=input, the other with original" in told or "at=original, the other with input" in told
    assert "Differences to the best" not in page.tables
    assert main(["eval", str(runs / "b"), "eval.bootstrap=0"]) == 0
    assert main(["report", str(runs / "a"), str(runs / "b"), "eval.bootstrap=50"]) == 0
    (file,) = (here / "report").iterdir()
    page = parse(file.read_text())
    scores = {name: read_report(runs / name / "eval" / "val").scores for name in "ab"}
    shown = {row[0]: numbers(row)[0] for row in page.tables["Scores, by IoU, with intervals of each run alone"][1:]}
    assert shown == pytest.approx({"A": scores["a"]["iou"], "B": scores["b"]["iou"]}, abs=5e-5)
    first = page.tables["Differences to the best"][1]
    assert float(first[1]) == pytest.approx(-abs(scores["a"]["iou"] - scores["b"]["iou"]), abs=5e-5)
    assert ["optimizer.lr", "0.001", "0.02"] in page.tables["Keys that differ"]
    assert page.tables["Validation IoU, by step"][0] == ["step", "A", "B"]


def test_a_training_that_is_done_does_not_fail_for_its_page(runs, tmp_path, caplog):
    copy = shutil.copytree(runs / "b", tmp_path / "copy")
    (copy / "scores.json").write_text("{")
    with caplog.at_level(logging.WARNING, "segtrain"):
        leave_page(copy)
    assert f"to write it: segtrain report {copy}" in caplog.text
    caplog.clear()
    leave_page(tmp_path)  # no run's folder: somebody's own trainer
    assert caplog.text == ""


def test_mistakes_are_one_line(runs, tmp_path, refused):
    run = str(runs / "a")
    (line,) = refused("report", str(tmp_path / "no"))
    assert "no such folder, expected a run" in line
    (line,) = refused("report", str(runs))
    assert f"is no run but holds 2; give one of them, such as {runs / 'a'}" in line
    (line,) = refused("report", f"{run}/config.yaml")
    assert "is a file, expected a run folder" in line
    (line,) = refused("report", run, "pictured=1")
    assert "pictured: unknown key, did you mean 'pictures'?" in line
    (line,) = refused("report", run, "split=test")
    assert "write data.split=test" in line
    (line,) = refused("report", run, "eval.calibrate=true")
    assert "changes the checkpoint" in line
    (line,) = refused("report", run, str(runs / "b"), "data.limit=3")
    assert "data.limit=3: is for the model of one run" in line
    (line,) = refused("report", run, str(runs / "b"), "data.split=train")
    assert "holds no scores of train yet" in line


def test_a_history_that_is_being_written_is_read_as_far_as_it_is_whole(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert read_history(file) == []
    file.write_text('{"step": 1}\n{"st')
    assert read_history(file) == [{"step": 1}]


@pytest.mark.slow
def test_a_planted_label_error_is_the_first_suspect_and_check_reads_the_list(tmp_path, capsys):
    for split, count in (("train", 10), ("val", 6)):
        write_blobs(tmp_path / split, count)
        for kind in ("images", "masks"):
            (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / kind).rename(tmp_path / "photos" / kind / split)
    planted = tmp_path / "photos" / "masks" / "val" / "03.png"
    Image.fromarray(np.zeros_like(np.asarray(Image.open(planted)))).save(planted)
    data = ["data=folder", f"data.root={tmp_path / 'photos'}", "data.classes=[blob]"]
    small = ["data.image_size=32", "data.batch_size=5", "data.num_workers=0", "encoder=test_resnet", "logger=none"]
    run = tmp_path / "run"
    options = ["encoder.weights=null", "loss=bce", "trainer.epochs=40", "trainer.val_every=40", "optimizer.lr=0.005"]
    assert main([*data, *small, *options, f"hydra.run.dir={run}"]) == 0
    assert main(["report", str(run), "eval.bootstrap=0", "pictures=1"]) == 0
    rows = list(csv.DictReader((run / "eval" / "val" / "suspects.csv").open()))
    assert rows[0]["id"].endswith("03")
    assert (rows[0]["given"], rows[0]["predicted"], rows[0]["verdict"]) == ("background", "blob", "")
    assert rows[0]["mask"] == str(planted)
    text = (run / "report.html").read_text()
    _, _, gallery = text.partition("The most suspected regions: given labels, then predicted ones</summary>")
    red, green, blue = palette(2)[1]
    key, _, _ = gallery.partition('<div class="pictures">')
    assert f'background: rgb({red}, {green}, {blue})"></span>blob' in key
    page = parse(text)
    (command,) = [text for text in page.texts("code") if text.startswith("segtrain check")]
    capsys.readouterr()
    assert main([*shlex.split(command)[1:-1]]) in (0, 1)
    said = capsys.readouterr().out
    listed = len({row["id"] for row in rows})
    assert f"val: {listed} image" in said
