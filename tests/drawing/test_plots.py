import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from segtrain.drawing.plots import confusion_picture, precision_recall_picture, reliability_picture
from segtrain.metrics.calibration import Calibration
from segtrain.metrics.curves import Curves
from segtrain.task import Multiclass, Multilabel

GRAY = (0xD9, 0xD9, 0xD9)


@pytest.fixture
def figures(monkeypatch):
    """Pictures stay the figures that they would be drawn from, so that tests can read them."""
    monkeypatch.setattr("segtrain.drawing.plots._render", lambda figure: figure)


def evaluated(names, *, multilabel: bool = False):
    """Curves and calibration of overconfident logits; the last class is never in the truth."""
    torch.manual_seed(0)
    task = (Multilabel if multilabel else Multiclass)(names)
    logits = 3 * torch.randn(1, len(names), 24, 24)
    target = (logits[:, :-1] + torch.randn(1, len(names) - 1, 24, 24)).argmax(1)
    if multilabel:
        target = torch.cat([(logits[:, :-1] > 0).long(), torch.zeros(1, 1, 24, 24).long()], 1)
    curves, calibration = Curves(task), Calibration(task)
    curves.update(logits, target)
    calibration.update(logits, target)
    return curves.result(), calibration.result()


def is_picture(picture) -> bool:
    return picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3 and picture.std() > 10


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("labels", [2, 20, 60])
def test_a_confusion_matrix_of_any_size_becomes_a_picture(labels):
    picture = confusion_picture(np.eye(labels, dtype=np.int64), [f"c{i}" for i in range(labels)])
    assert is_picture(picture)
    assert max(picture.shape) < 2000


def test_curves_and_calibration_become_pictures():
    names = ["a", "b", "c"]
    curves, calibration = evaluated(names)
    assert is_picture(precision_recall_picture(curves, names))
    assert is_picture(reliability_picture(calibration))


def test_rows_of_the_confusion_hold_the_percentages_of_each_true_class(figures):
    (axes,) = confusion_picture(np.array([[995, 5], [300, 100]]), ["a", "b"]).axes
    assert texts(axes) == ["99.5", "0.5", "75.0", "25.0"]


def test_a_share_too_small_to_write_is_not_written_as_none(figures):
    (axes,) = confusion_picture(np.array([[10**6, 1], [0, 1]]), ["a", "b"]).axes
    assert texts(axes) == ["100.0", "<0.1", "100.0"]


def test_a_label_without_truth_has_a_gray_row():
    names = ["a", "b"]
    partial, full = (confusion_picture(np.array([[3, 1], row]), names) for row in ([0, 0], [1, 3]))
    gray, none = ((picture == GRAY).all(-1).sum() for picture in (partial, full))
    assert gray > 5000
    assert none < 100


def test_many_labels_have_a_colour_bar_in_place_of_percentages(figures):
    few, many = (confusion_picture(np.eye(n, dtype=np.int64), [f"c{i}" for i in range(n)]) for n in (20, 21))
    assert (len(few.axes), len(few.axes[0].texts)) == (1, 20)
    assert (len(many.axes), len(many.axes[0].texts)) == (2, 0)


def test_the_reliability_names_error_and_temperature(figures):
    _, calibration = evaluated(["a", "b", "c"])
    upper, lower = reliability_picture(calibration).axes
    assert f"ECE {100 * calibration.ece:.2f} %" in upper.get_title()
    assert f"temperature {calibration.temperature:.2f}" in upper.get_title()
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(100)


def test_bars_and_gaps_of_the_reliability_reach_the_confidence(figures):
    _, calibration = evaluated(["a", "b", "c"])
    upper = reliability_picture(calibration).axes[0]
    bins = len(calibration.reliability)
    tops = [gap.get_y() + gap.get_height() for gap in upper.patches[bins:]]
    assert tops == pytest.approx([row.confidence or 0 for row in calibration.reliability])


def test_nothing_valid_is_said_in_the_picture(figures):
    names = ["a", "b"]
    curves, calibration = Curves(Multiclass(names)), Calibration(Multiclass(names))
    assert reliability_picture(calibration.result()).axes[0].get_title() == "nothing to calibrate"
    assert precision_recall_picture(curves.result(), names).axes[0].get_title() == "no class is in the truth"


def test_the_legend_lists_classes_in_the_truth_by_average_precision(figures):
    names = ["a", "b", "never"]
    curves, _ = evaluated(names)
    (legend,) = precision_recall_picture(curves, names).legends
    lines = [text.get_text() for text in legend.get_texts()]
    expected = sorted(curves.average_precision[:2].tolist(), reverse=True)
    assert [float(line.split()[0]) for line in lines] == pytest.approx(expected, abs=5e-4)
    assert {line.split()[1] for line in lines} == {"a", "b"}


def test_the_best_threshold_is_marked_on_the_curve(figures):
    names = ["a", "b", "never"]
    curves, _ = evaluated(names)
    axes = precision_recall_picture(curves, names).axes[0]
    marks = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"}
    assert marks == {(best.recall, best.precision) for best in curves.best if best}


def test_the_legend_of_many_classes_is_beside_the_curves(figures):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [f"a class with a long name {i}" for i in range(80)]
    figure = precision_recall_picture(evaluated(names, multilabel=True)[0], names)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box, plot = legend.get_window_extent(), figure.axes[0].get_tightbbox()
    assert len(legend.get_texts()) == 79
    assert box.x0 > plot.x1
    assert box.y0 > 0
    assert plot.x0 > 0


def test_names_are_neither_formulas_nor_hidden():
    names = ["$x^{", "_private", "$5$ & more"]
    curves, _ = evaluated(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_picture(precision_recall_picture(curves, names))
        assert is_picture(confusion_picture(np.eye(3, dtype=np.int64), names))


def test_drawing_needs_no_pyplot_and_importing_no_matplotlib():
    code = (
        "import sys, numpy, segtrain.drawing.plots as plots; assert 'matplotlib' not in sys.modules;"
        "plots.confusion_picture(numpy.eye(2, dtype=int), ['a', 'b']); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
