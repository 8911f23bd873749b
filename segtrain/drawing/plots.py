"""Plots of evaluation results, as RGB pictures ``(H, W, 3)`` of uint8 for files and TensorBoard alike.

Drawn without pyplot, which would keep every figure in memory and look for a screen. matplotlib is
imported in functions, as that is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segtrain.drawing.lettering import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from segtrain.metrics.calibration import CalibrationScores
    from segtrain.metrics.curves import PrecisionRecall

_DPI = 110
_LONGEST_NAME = 22  # characters
_WITH_NUMBERS = 20  # labels up to which the cells of a confusion matrix show percentages
_WITH_DECIMALS = 10  # labels up to which these have a decimal
_IN_A_LEGEND = 24  # classes up to which the legend has one column in full size; above, several small ones
_IN_A_COLUMN = 36  # classes per small column
_FONT, _SMALL_FONT = 9, 6.5  # points
_GRAY, _BLUE, _RED = "#b8b8b8", "#3b6ea8", "#c8553d"


def confusion_picture(matrix: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """Draw a confusion matrix ``(L, L)``, rows truth and columns predicted, normalised by row.

    Labels that the truth lacks have a gray row.
    """
    labels, numbered = len(names), len(names) <= _WITH_NUMBERS
    cell = max(0.45, 2.8 / labels) if numbered else max(0.1, 9 / labels)  # inches
    font = _FONT if numbered else _SMALL_FONT
    shown = [_short(name) for name in readable(names)]
    side = labels * cell + max(map(len, shown)) * font / 110 + 0.5
    figure = _figure(side + (0 if numbered else 0.8), side + 0.3)
    axes = figure.add_subplot(facecolor="#d9d9d9")
    support = matrix.sum(1, keepdims=True)  # (L, 1)
    shares = np.where(support > 0, matrix / support.clip(1), np.nan)  # NaN is not drawn
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(labels), shown, rotation=90, fontsize=font)
    axes.set_yticks(range(labels), shown, fontsize=font)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.set_title("% of each true class" if numbered else "Share of each true class", fontsize=_FONT + 1)
    if numbered:
        _write_percentages(axes, matrix, shares)
    else:
        figure.colorbar(image, shrink=0.5, aspect=40)
    return _render(figure)


def _write_percentages(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Write the percentage into each cell that holds pixels; ``<0.1`` where it would round to 0."""
    digits = 1 if len(matrix) <= _WITH_DECIMALS else 0
    least = 10**-digits
    for row, column in np.argwhere(matrix > 0):
        percent = 100 * shares[row, column]
        words = f"{percent:.{digits}f}" if percent >= least / 2 else f"<{least}"
        colour = "white" if percent > 55 else "black" if percent >= least / 2 else "gray"
        axes.text(column, row, words, ha="center", va="center", fontsize=_FONT, color=colour)


def reliability_picture(scores: CalibrationScores) -> NDArray[np.uint8]:
    """Draw a reliability diagram: accuracy by confidence, over a histogram of confidences.

    Bars that end below the diagonal show overconfidence (Guo et al. 2017, figure 1).
    """
    figure = _figure(5, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    table = scores.reliability
    width, total = 1 / len(table), max(1, sum(row.decisions for row in table))
    centres = (np.arange(len(table)) + 0.5) * width
    bars = {"width": width, "edgecolor": "white"}
    accuracy = np.array([row.accuracy or 0 for row in table])
    gaps = np.array([(row.confidence or 0) - (row.accuracy or 0) for row in table])
    upper.bar(centres, accuracy, color=_BLUE, label="accuracy", **bars)
    upper.bar(centres, gaps, bottom=accuracy, color=_RED, alpha=0.35, label="gap to confidence", **bars)
    upper.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="calibrated")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    upper.legend(loc="upper left", fontsize=_FONT, frameon=False)
    upper.set_title(_calibration_title(scores), fontsize=_FONT + 1)
    lower.bar(centres, [100 * row.decisions / total for row in table], color=_GRAY, **bars)
    lower.set(xlabel="confidence", ylabel="% of decisions", ylim=(0, 100))
    _soften(upper, lower)
    return _render(figure)


def _calibration_title(scores: CalibrationScores) -> str:
    if scores.ece is None:
        return "nothing to calibrate"
    title = f"ECE {100 * scores.ece:.2f} %"
    if scores.temperature is None or scores.ece_calibrated is None:
        return title
    return f"{title}, at temperature {scores.temperature:.2f}: {100 * scores.ece_calibrated:.2f} %"


def precision_recall_picture(curves: PrecisionRecall, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Draw the precision-recall curve of each class in the truth, with average precision and best threshold."""
    shown = readable(class_names)
    found = [
        (float(average), name, best, recall.numpy(), precision.numpy())
        for average, name, best, recall, precision in zip(
            curves.average_precision, shown, curves.best, curves.recall, curves.precision, strict=True
        )
        if best is not None
    ]
    found.sort(key=lambda row: -row[0])
    is_crowded = len(found) > _IN_A_LEGEND
    columns = -(-len(found) // _IN_A_COLUMN) or 1  # rounded up
    figure = _figure(5.4 + columns * (2.5 if is_crowded else 3), 5.2)
    axes = figure.add_subplot()
    _draw_equal_f1(axes)
    line, dot, font = (0.8, 3, _SMALL_FONT) if is_crowded else (1.8, 7, _FONT)
    for (average, name, best, recall, precision), colour in zip(found, _colours(len(found)), strict=True):
        label = f"{average:.3f}  {_short(name)} (> {best.threshold:.2f})"
        axes.plot(recall, precision, color=colour, linewidth=line, label=label)
        axes.plot(best.recall, best.precision, "o", color=colour, mec="white", mew=dot / 7, ms=dot)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision", aspect="equal")
    if found:
        axes.set_title(f"Mean average precision {np.mean([row[0] for row in found]):.3f}", fontsize=_FONT + 1)
        figure.legend(
            loc="outside right upper",
            ncols=columns,
            title="AP  class (best threshold: dot)",
            alignment="left",
            fontsize=font,
            title_fontsize=font,
            frameon=False,
        )
    else:
        axes.set_title("no class is in the truth", fontsize=_FONT + 1)
    _soften(axes)
    return _render(figure)


def _draw_equal_f1(axes: Axes) -> None:
    """Draw lines of equal F1: precision = F1 recall / (2 recall - F1)."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1, 100)  # below this recall, precision would be above 1
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=_GRAY, linewidth=0.7, linestyle=":")
        axes.text(1.0, f1 / (2 - f1), f"F1 {f1:g}", fontsize=_SMALL_FONT, color="gray", ha="right", va="bottom")


def _short(name: str) -> str:
    """Cut long names, and escape dollars, which would start a formula in matplotlib."""
    cut = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return cut.replace("$", r"\$")


def _colours(number: int) -> list[Any]:
    """Choose distinct colours: a qualitative palette for up to ten, else an even ramp of hues."""
    from matplotlib import colormaps

    if number <= 10:
        return [colormaps["tab10"](place) for place in range(number)]
    return [colormaps["turbo"](place) for place in np.linspace(0.03, 0.97, number)]


def _soften(*panels: Axes) -> None:
    """Give axes a light look: no upper and right spine, a faint grid behind the data."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)


def learning_rate_picture(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggested: float
) -> NDArray[np.uint8]:
    """Draw the losses of a learning-rate range test over the rate, and a line at the one that is suggested."""
    figure = _figure(6.5, 4.2)
    axes = figure.add_subplot()
    axes.plot(rates, losses, ".", color=_GRAY, ms=4, label="each step")
    axes.plot(rates, smoothed, color=_BLUE, linewidth=1.8, label="smoothed")
    axes.axvline(suggested, color=_RED, linestyle="--", linewidth=1, label=f"falls fastest: {suggested:.2g}")
    lowest, highest = min(smoothed), max(smoothed[: int(np.argmin(smoothed)) + 1])
    margin = 0.2 * (highest - lowest) or 1.0  # a diverging end would press the rest flat
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(lowest - margin, highest + margin))
    axes.legend(fontsize=_FONT, frameon=False)
    _soften(axes)
    return _render(figure)


def _figure(width: float, height: float) -> Figure:
    """Make a figure of that size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _render(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure as RGB ``(H, W, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer, (width, height) = FigureCanvasAgg(figure).print_to_buffer()  # type: ignore[no-untyped-call]
    # (H, W, 4) -> (H, W, 3)
    pixels: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8).reshape(height, width, 4)[..., :3].copy()
    return pixels
