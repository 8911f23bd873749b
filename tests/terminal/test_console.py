"""What stands below a table of scores."""

import pytest

from segtrain.terminal.console import ONCE, log, out, score_notes, score_table, start_logging


def scores_with_thresholds(classes):
    best = {"average_precision": 0.5, "threshold": 0.25, "iou": 0.75, "f1": 0.8, "precision": 0.8, "recall": 0.8}
    rows = {f"class {number}": best for number in range(classes)}
    return {
        "absent_policy": "exclude",
        "absent": [],
        "iou_imagewise": 0.5,
        "accuracy": 0.75,
        "thresholds": {**rows, "gone": None},
    }


@pytest.mark.parametrize(("classes", "lines"), [(8, 8), (9, 1), (60, 1)])
def test_thresholds_of_many_classes_take_one_line(classes, lines):
    notes = [note for note in score_notes(scores_with_thresholds(classes)) if "average precision" in note]
    assert len(notes) == lines
    assert all("0.5000" in note for note in notes)


def test_contours_have_their_interval_beside_them():
    contours = {"surface_average": {"mean": 2.5}, "intervals": {"surface_average": [2.0, 3.0]}}
    assert "surface average 2.5000 pixels (2.0000 to 3.0000)" in list(score_notes(scores_with_thresholds(1) | contours))


def test_the_calibration_error_has_its_interval_beside_it():
    calibration = {"ece": 0.03, "ece_calibrated": 0.01, "temperature": 1.5}
    scores = {"calibration": calibration, "intervals": {"ece": [0.02, 0.04]}}
    expected = "expected calibration error 0.0300 (0.0200 to 0.0400), at temperature 1.50 0.0100"
    assert expected in list(score_notes(scores_with_thresholds(1) | scores))


@pytest.mark.parametrize(("classes", "ends"), [(1, "0.5000 (0.4000 to 0.6000)"), (9, "0.5000 (0.4500 to 0.5500)")])
def test_average_precision_has_its_interval_beside_it(classes, ends):
    own = {f"class {number}": {"average_precision": [0.4, 0.6]} for number in range(classes)}
    intervals = {"average_precision": [0.45, 0.55], "per_class": own}
    notes = score_notes(scores_with_thresholds(classes) | {"intervals": intervals})
    assert any(f"average precision {ends}" in note for note in notes)


def test_the_mean_row_leaves_the_accuracy_of_whole_label_maps_to_a_note(capsys):
    row = {"iou": 0.25, "f1": 0.4, "precision": 0.4, "recall": 0.4, "accuracy": 0.9}
    scores = scores_with_thresholds(1) | row | {"accuracy": 0.7, "per_class": {"cat": row, "dog": row}}
    out.print(score_table("val", scores))
    printed = capsys.readouterr().out
    assert printed.count("0.9000") == 2
    assert "0.7000" not in printed
    assert "pixel accuracy 0.7000" in list(score_notes(scores))


def test_a_line_that_every_split_says_is_shown_once_a_command(capsys):
    for _ in range(2):
        start_logging()
        for _ in range(3):
            log.info("masks: 3 files are not named so", extra=ONCE)
            log.info("reading")
    said = capsys.readouterr().out.splitlines()
    assert said == ["masks: 3 files are not named so", "reading", "reading", "reading"] * 2
