"""The page of a sweep or a search: its jobs from best to worst, and what each varied key did to the score."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from segtrain.drawing.charts import Span, number
from segtrain.drawing.templates import template

Value: TypeAlias = str | int | float | bool | None
TEMPLATE = "sweep.html.j2"
_FEW = 6  # values of a key, up to which each has a column of its own
_LETTER = 7.0  # the width of one, in units of a chart
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 460, 250, 58, 46, 12


@dataclass(frozen=True)
class Result:
    """One job: its values by key, its score (None without), and the words of its row: state, folder, time.

    ``page`` is where its own page lies, as seen from that of the sweep; empty where there is none.
    """

    number: int
    varied: dict[str, Value]
    score: float | None
    state: str
    folder: str
    seconds: float | None = None
    error: str = ""
    page: str = ""


@dataclass(frozen=True)
class Column:
    """The scores of one value of a key, with the mean and the ends of its interval, None for fewer than two."""

    name: str
    scores: tuple[float, ...]
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Effect:
    """What one key did: ``share`` of the scores' variance between its values, and their columns.

    ``points`` are (value, score), of a key with many numbers, whose columns are quarters of them.
    """

    key: str
    share: float
    columns: tuple[Column, ...]
    points: tuple[tuple[float, float], ...] = ()

    @property
    def is_log(self) -> bool:
        """Whether the values span a factor of ten and more, and are drawn by their logarithm."""
        values = [value for value, _ in self.points]
        return bool(values) and min(values) > 0 and max(values) / min(values) >= 10


def effects(results: Sequence[Result], confidence: float = 0.95) -> list[Effect]:
    """Return the effect of each key with several values, the greatest first; only jobs with a score count.

    Marginal: all else that varies is averaged over. The share is eta squared, sums of squares between groups over all;
    with few jobs it is high by chance, as is told on the page.
    """
    scored = [result for result in results if result.score is not None and math.isfinite(result.score)]
    keys = dict.fromkeys(key for result in scored for key in result.varied)
    found = []
    for key in keys:
        having = [result for result in scored if key in result.varied]
        values = dict.fromkeys(result.varied[key] for result in having)
        if len(values) > 1:
            found.append(_effect(key, having, list(values), confidence))
    return sorted(found, key=lambda effect: effect.share, reverse=True)


def _effect(key: str, results: Sequence[Result], values: Sequence[Value], confidence: float) -> Effect:
    scores = [float(result.score or 0.0) for result in results]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    points: tuple[tuple[float, float], ...] = ()
    if is_number and len(values) > _FEW:
        points = tuple((float(result.varied[key] or 0.0), score) for result, score in zip(results, scores, strict=True))
        names = _quarters([point[0] for point in points])
    else:
        names = [_word(result.varied[key]) for result in results]
    groups: dict[str, list[float]] = defaultdict(list)
    for name, score in zip(names, scores, strict=True):
        groups[name].append(score)
    order = sorted(groups) if points else [_word(value) for value in _sorted(values, is_number=is_number)]
    mean = statistics.fmean(scores)
    total = sum((score - mean) ** 2 for score in scores)
    between = sum(len(group) * (statistics.fmean(group) - mean) ** 2 for group in groups.values())
    columns = tuple(_column(name, groups[name], confidence) for name in order)
    return Effect(key, between / total if total else 0.0, columns, points)


def _sorted(values: Sequence[Value], *, is_number: bool) -> list[Value]:
    return sorted(values, key=lambda value: value if is_number else 0)  # type: ignore[arg-type, return-value]


def _quarters(values: Sequence[float]) -> list[str]:
    """Name the quarter that each value lies in, by rank: ``1: 0.001 to 0.01``."""
    order = sorted(values)
    size = math.ceil(len(order) / 4)
    cuts = [order[start : start + size] for start in range(0, len(order), size)]
    names = [f"{number}: {part[0]:.3g} to {part[-1]:.3g}" for number, part in enumerate(cuts, 1)]
    return [names[next(n for n, part in enumerate(cuts) if value <= part[-1])] for value in values]


def _column(name: str, scores: Sequence[float], confidence: float) -> Column:
    mean = statistics.fmean(scores)
    if len(scores) < 2:
        return Column(name, tuple(scores), mean, None)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(scores) - 1)) * statistics.stdev(scores) / math.sqrt(len(scores))
    return Column(name, tuple(scores), mean, (mean - half, mean + half))


def sweep_page(
    results: Sequence[Result], *, title: str, monitor: str, verdict: str = "", confidence: float = 0.95
) -> str:
    """Write the page in one HTML file that fetches nothing; ``results`` are in the order of its table."""
    from markupsafe import Markup  # here: only a page needs it

    found = effects(results, confidence)
    keys = list(dict.fromkeys(key for result in results for key in result.varied))
    span = _span(found)
    return template(TEMPLATE).render(
        title=title,
        monitor=monitor,
        verdict=verdict,
        confidence=f"{confidence:.0%}",
        keys=[(key, _is_of_numbers([result.varied.get(key) for result in results])) for key in keys],
        rows=[_row(place, result, keys) for place, result in enumerate(results, 1)],
        effects=[(effect, Markup(chart(effect, monitor, span)), f"{effect.share:.0%}") for effect in found],
    )


def _row(place: int, result: Result, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "place": place,
        "number": result.number,
        "values": [_word(result.varied[key]) if key in result.varied else "-" for key in keys],
        "score": "-" if result.score is None else f"{result.score:.4f}",
        "state": result.state,
        "seconds": "-" if result.seconds is None else f"{result.seconds:.0f}",
        "folder": result.folder,
        "page": result.page,
        "error": result.error,
    }


def _is_of_numbers(values: Sequence[Value]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None)


def _span(found: Sequence[Effect]) -> Span:
    """Return the axis of all charts: it holds each score, and of intervals what is not far from them.

    That of two jobs may be twenty times as long as they are apart: dots on an axis for all of it would fall together.
    """
    columns = [column for effect in found for column in effect.columns]
    scores = [score for column in columns for score in column.scores]
    if not scores:
        return Span.of(())
    low, high = min(scores), max(scores)
    room = (high - low) / 2 or 0.01
    ends = [end for effect in found if not effect.points for column in effect.columns for end in column.interval or ()]
    margin = room / 10  # so that no dot lies on an edge
    return Span.of(
        (), ends=(max(low - room, min([low, *ends])) - margin, min(high + room, max([high, *ends])) + margin)
    )


def chart(effect: Effect, monitor: str, span: Span) -> str:
    """Draw the scores by the values of a key as SVG: dots, and means with their intervals where values are few."""

    def up(score: float) -> float:
        return _HEIGHT - _BOTTOM - span.share(score) * (_HEIGHT - _BOTTOM - _TOP)

    label = escape(f"val/{monitor} by {effect.key}: " + _spoken(effect))
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" class="chart">']
    for score in span.ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{up(score):.1f}" x2="{_WIDTH - 8}" y2="{up(score):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{up(score) + 4:.1f}" text-anchor="end">{number(score)}</text>')
    drawn = _points(effect, up) if effect.points else _columns(effect, up)
    name = f"{effect.key}{' (logarithmic)' if effect.is_log else ''}"
    axis = f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(name)}</text>'
    return "\n".join([*parts, *drawn, axis, "</svg>"])


def _points(effect: Effect, up: Any) -> list[str]:
    scale = math.log10 if effect.is_log else float
    values = [scale(value) for value, _ in effect.points]
    low, high = min(values), max(values)

    def across(value: float) -> float:
        return _LEFT + 12 + (value - low) / (high - low) * (_WIDTH - _LEFT - 32)

    parts = [
        f'<circle class="dot" cx="{across(scale(value)):.1f}" cy="{up(score):.1f}" r="4">'
        f"<title>{value:.4g}: {score:.4f}</title></circle>"
        for value, score in effect.points
    ]
    ends = [min(effect.points)[0], max(effect.points)[0]]
    anchors = ("start", "end")
    return parts + [
        f'<text x="{across(scale(value)):.1f}" y="{_HEIGHT - 28}" text-anchor="{anchor}">{value:.3g}</text>'
        for value, anchor in zip(ends, anchors, strict=True)
    ]


def _columns(effect: Effect, up: Any) -> list[str]:
    width = (_WIDTH - _LEFT - 16) / len(effect.columns)
    parts = []
    for place, column in enumerate(effect.columns):
        x = _LEFT + 8 + (place + 0.5) * width
        parts += [
            f'<circle class="dot" cx="{x - 12:.1f}" cy="{up(score):.1f}" r="3"><title>{score:.4f}</title></circle>'
            for score in column.scores
        ]
        if column.interval:
            low, high = column.interval
            line = f'<line class="interval" x1="{x:.1f}" y1="{up(low):.1f}" x2="{x:.1f}" y2="{up(high):.1f}">'
            parts.append(f"{line}<title>{low:.4f} to {high:.4f}</title></line>")
        parts.append(
            f'<rect class="mean" x="{x - 6:.1f}" y="{up(column.mean) - 2:.1f}" width="12" height="4">'
            f"<title>mean {column.mean:.4f}</title></rect>"
        )
        name, letters = column.name, int(width / _LETTER)
        # both ends, as the values of a key often begin alike
        half = max(1, (letters - 2) // 2)
        shown = name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"
        words = escape(shown) + (f"<title>{escape(name)}</title>" if shown != name else "")
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{words}</text>')
    return parts


def _spoken(effect: Effect) -> str:
    return ", ".join(f"{column.name} {column.mean:.4f}" for column in effect.columns)


def _word(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
