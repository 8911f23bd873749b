"""Line and bar charts as inline SVG, for pages: they take the page's colours, light or dark, and need no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 24, 12, 44  # half of a long number stands right of the last tick
SHADES = 8
"""Colours of lines that a page defines, ``--line-0`` and so on; beyond them lines are dashed."""
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_MARKED = 60  # points up to which each is marked, with its numbers to be hovered over


@dataclass(frozen=True)
class Line:
    """A line of a chart by its points, x and y; a y of None leaves a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Span:
    """The ends of an axis, and where it has ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float], *, ends: tuple[float, float] | None = None) -> "Span":
        """Choose round ends around values, or ticks between given ``ends``."""
        low, high = ends or (min(values, default=0.0), max(values, default=1.0))
        if high <= low:  # one value alone: around it, and on its own scale, be it a learning rate
            half = abs(low) / 2 or 0.5
            low, high = low - half, high + half
        step = _round_step((high - low) / 5)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(number * step for number in range(first, last + 1))
        return cls(*(ends or (ticks[0], ticks[-1])), tuple(t for t in ticks if ends is None or low <= t <= high + 1e-9))

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    across: str,
    up: str,
    x_ends: tuple[float, float] | None = None,
    y_ends: tuple[float, float] | None = None,
) -> str:
    """Draw lines over one pair of axes; ``title`` is what a screen reader says, ``across`` and ``up`` name the axes."""
    known = [(x, y) for line in lines for x, y in line.points if y is not None and math.isfinite(y)]
    x_span, y_span = Span.of([x for x, _ in known], ends=x_ends), Span.of([y for _, y in known], ends=y_ends)
    drawn = [_line(number, line, x_span, y_span) for number, line in enumerate(lines)]
    return _svg(title, [*_axes(x_span, y_span, across, up), *drawn])


def bar_chart(
    bars: Sequence[tuple[float, float, float | None, str]], *, title: str, across: str, up: str, diagonal: bool = False
) -> str:
    """Draw bars from x to x of a height, all between 0 and 1, each with words to hover over; None is no bar.

    ``diagonal`` draws the line on which heights are their places.
    """
    span = Span.of((), ends=(0.0, 1.0))
    drawn = []
    for low, high, value, words in bars:
        if value is not None:
            x, right, y = _x(low, span), _x(high, span), _y(value, span)
            rect = f'<rect class="bar" x="{x + 1:.1f}" y="{y:.1f}" width="{right - x - 2:.1f}" '
            drawn.append(f'{rect}height="{_y(0, span) - y:.1f}"><title>{escape(words)}</title></rect>')
    if diagonal:
        ends = f'x1="{_x(0, span)}" y1="{_y(0, span)}" x2="{_x(1, span)}" y2="{_y(1, span)}"'
        drawn.append(f'<line class="diagonal" {ends}/>')
    return _svg(title, [*_axes(span, span, across, up), *drawn])


def number(value: float) -> str:
    """Write a number in few digits."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def style_of(place: int) -> str:
    """Return colour and dashes of the line at that place, as CSS."""
    dashes = _DASHES[place // SHADES % len(_DASHES)]
    return f"stroke: var(--line-{place % SHADES})" + (f"; stroke-dasharray: {dashes}" if dashes else "")


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">'
    return "\n".join([head, *parts, "</svg>"])


def _axes(x_span: Span, y_span: Span, across: str, up: str) -> list[str]:
    bottom, left, right = _HEIGHT - _BOTTOM, _LEFT, _WIDTH - _RIGHT
    parts = []
    for tick in y_span.ticks:
        y = _y(tick, y_span)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in x_span.ticks:
        x = _x(tick, x_span)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{number(tick)}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    middle = (left + right) / 2
    parts.append(f'<text class="name" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
    turned = f'transform="translate(12 {(_TOP + bottom) / 2}) rotate(-90)"'
    return [*parts, f'<text class="name" {turned} text-anchor="middle">{escape(up)}</text>']


def _line(place: int, line: Line, x_span: Span, y_span: Span) -> str:
    steps, pen_is_down = [], False
    marks = []
    for x, y in line.points:
        if y is None or not math.isfinite(y):
            pen_is_down = False
            continue
        left, top = _x(x, x_span), _y(y, y_span)
        steps.append(f"{'L' if pen_is_down else 'M'}{left:.1f} {top:.1f}")
        pen_is_down = True
        words = escape(f"{line.name}: {number(y)} at {number(x)}")
        colour = f"fill: var(--line-{place % SHADES})"
        marks.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" style="{colour}"><title>{words}</title></circle>')
    path = f'<path class="line" style="{style_of(place)}" d="{" ".join(steps)}"/>' if steps else ""
    return path + ("".join(marks) if len(marks) <= _MARKED else "")


def _x(value: float, span: Span) -> float:
    return _LEFT + span.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, span: Span) -> float:
    return _HEIGHT - _BOTTOM - span.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _round_step(rough: float) -> float:
    """Return the least of 1, 2, 2.5 and 5 times a power of ten that is no less."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
