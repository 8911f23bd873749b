"""Charts as SVG: well-formed, with every point where it belongs, and names that cannot break out of them."""

from xml.etree import ElementTree

import pytest

from segtrain.drawing.charts import Line, Span, bar_chart, line_chart, number, style_of


def drawn(svg, tag):
    return [element for element in ElementTree.fromstring(svg).iter() if element.tag == tag]


def test_points_are_where_their_numbers_are():
    svg = line_chart([Line("loss", [(0, 0.0), (5, 1.0), (10, 0.5)])], title="Loss", across="step", up="loss")
    places = [(float(mark.get("cx")), float(mark.get("cy"))) for mark in drawn(svg, "circle")]
    (left, low), (middle, high), (right, half) = places
    assert middle == pytest.approx((left + right) / 2)
    assert half == pytest.approx((low + high) / 2)
    assert low > high  # rows count downwards
    assert [mark[0].text for mark in drawn(svg, "circle")][1] == "loss: 1 at 5"


def test_a_gap_parts_a_line():
    (path,) = drawn(line_chart([Line("a", [(0, 1.0), (1, None), (2, 3.0)])], title="", across="", up=""), "path")
    assert path.get("d").count("M") == 2
    assert "L" not in path.get("d")


def test_names_are_escaped_and_the_title_is_read_aloud():
    svg = line_chart([Line("<b>", [(0, 1.0), (1, 2.0)])], title='a "quoted" <title>', across="&", up="y")
    assert ElementTree.fromstring(svg).get("aria-label") == 'a "quoted" <title>'
    assert ElementTree.fromstring(svg).get("role") == "img"


@pytest.mark.parametrize("values", [[0.1, 0.93], [3.0, 3.0], [-5.0, 1e6], [2e-5, 9e-5], []])
def test_ticks_are_few_and_round_and_hold_all_values(values):
    span = Span.of(values)
    assert 3 <= len(span.ticks) <= 9
    assert all(span.low <= value <= span.high for value in values)
    assert len({number(tick) for tick in span.ticks}) == len(span.ticks)


@pytest.mark.parametrize("value", [1e-3, 10.0, -7.0, 3e5])
def test_one_value_alone_is_seen_on_its_own_scale(value):
    span = Span.of([value])
    assert 0.2 < span.share(value) < 0.8
    assert span.high - span.low <= 2 * abs(value)
    assert span.low * span.high >= 0  # both on its side of 0


def test_given_ends_stay():
    span = Span.of([0.4, 0.6], ends=(0.0, 1.0))
    assert (span.low, span.high, span.share(0.25)) == (0.0, 1.0, 0.25)
    assert span.ticks[0] == 0
    assert span.ticks[-1] == pytest.approx(1)


def test_bars_are_as_high_as_their_values():
    svg = bar_chart([(0, 0.5, 0.5, "half"), (0.5, 1, 1.0, "all"), (0, 1, None, "none")], title="", across="", up="")
    half, whole = drawn(svg, "rect")
    assert float(whole.get("height")) == pytest.approx(2 * float(half.get("height")), abs=0.2)


def test_lines_beyond_the_colours_are_dashed():
    assert "dasharray" not in style_of(7)
    assert style_of(8).startswith("stroke: var(--line-0)")
    assert "dasharray" in style_of(8)
