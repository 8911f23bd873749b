"""How a run went and what it was: the sections on its curves, its config and what it ran on."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrain.drawing.charts import Line, line_chart, number
from segtrain.drawing.page import Chart, Section, Table
from segtrain.run.pages.reading import RunFiles
from segtrain.run.record import CONFIG
from segtrain.storage import read_text

_CLASSES = 12  # lines in the chart of classes
_SHARES = ("iou", "f1", "accuracy")
_POINTS = 400  # of a line, as a chart is not wider in pixels
_ENVIRONMENT = ("started", "step", "processor", "devices", "ranks", "precision", "versions", "git", "data")


def curves(run: RunFiles) -> Section:
    """Draw the losses, scores and learning rate over the steps."""
    train = [row for row in run.history if row.get("split") == "train"]
    val = [row for row in run.history if row.get("split") == "val"]
    losses = [line_of("training", train, "loss"), line_of("validation", val, "loss")]
    charts = [chart_of("Loss", losses, "loss")]
    if val:
        scores = [line_of(name, val, name) for name in _SHARES]
        charts.append(chart_of("Validation scores", scores, "score"))
        lines, of = lines_of_classes(val)
        charts += [chart_of(f"Validation IoU by class{of}", lines, "IoU")] if len(lines) > 1 else []
    charts.append(chart_of("Learning rate", [line_of("learning rate", train, "lr")], "learning rate"))
    speeds = [line_of("images per second", train, "images_per_second")]
    charts.append(chart_of("Speed", speeds, "images a second"))
    drawn = [chart for chart in charts if chart is not None]
    words = [] if drawn else ["metrics.jsonl holds nothing yet: the run has not come to its first line."]
    return Section("Curves", words=words, charts=drawn)


def line_of(name: str, rows: Sequence[Mapping[str, Any]], key: str) -> Line:
    """Return the line of a value over the steps, thinned out evenly to what a chart can show."""
    points = [(row["step"], row[key]) for row in rows if key in row]
    stride = max(1, -(-len(points) // _POINTS))
    kept = points[::stride] + ([points[-1]] if points and (len(points) - 1) % stride else [])
    return Line(name, kept)


def lines_of_classes(val: Sequence[Mapping[str, Any]]) -> tuple[list[Line], str]:
    """Return a line for each class; of many, for those with the least IoU at last, and words that say so."""
    last = val[-1]["per_class"]
    order = sorted(last, key=lambda name: 2.0 if last[name]["iou"] is None else last[name]["iou"])
    chosen = [name for name in last if name in order[:_CLASSES]]
    rows = {name: [{"step": row["step"], "iou": row["per_class"][name]["iou"]} for row in val] for name in chosen}
    of = f": the {_CLASSES} lowest of {len(last)}" if len(last) > _CLASSES else ""
    return [line_of(name, rows[name], "iou") for name in chosen], of


def chart_of(title: str, lines: Sequence[Line], up: str) -> Chart | None:
    """Draw lines over the steps, with a table of their points; None where there is no point."""
    known = [line for line in lines if any(y is not None for _, y in line.points)]
    if not known:
        return None
    ends = (0.0, 1.0) if up in ("score", "IoU") else None
    svg = line_chart(known, title=f"{title} over the steps", across="step", up=up, y_ends=ends)
    return Chart(title, svg, known, table_of(title, known))


def table_of(title: str, lines: Sequence[Line]) -> Table:
    """Lay out the points of lines, a row for each step."""
    at = [dict(line.points) for line in lines]
    steps = sorted({x for line in lines for x, _ in line.points})
    rows = [[number(step), *(_written(column.get(step)) for column in at)] for step in steps]
    return Table(f"{title}, by step", ["step", *(line.name for line in lines)], rows, is_open=False)


def config(run: RunFiles) -> Section:
    """Show the words that started the run, and its whole config."""
    words = [f"Words of start {place}: {line or '(none)'}" for place, line in enumerate(run.record.words, 1)]
    return Section("Config", words=words, text=read_text(run.folder / CONFIG))


def machine(run: RunFiles) -> Section:
    """Show what each start of the run ran on."""
    starts = run.record.starts
    if not starts:
        return Section("What it ran on", words=["There is no environment.json: an earlier version made this run."])
    keys = [key for key in _ENVIRONMENT if any(key in start for start in starts)]
    rows = [[key.replace("_", " "), *(_plain(start.get(key)) for start in starts)] for key in keys]
    columns = ["what", *(f"start {place}" for place in range(1, len(starts) + 1))]
    return Section("What it ran on", tables=[Table("Each start of the run", columns, rows)])


def _plain(value: Any) -> str:
    """Write a value of the environment in a line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
