"""The page of a sweep: effects by hand, and HTML that fetches nothing."""

import re
from html.parser import HTMLParser

import pytest

from segtrain.drawing.sweep_page import Result, effects, sweep_page


def result(number, score, **varied):
    return Result(number, varied, score, "finished" if score is not None else "failed", f"sweep/{number}")


GRID = [
    result(1, 0.9, arch="fpn", lr=0.1),
    result(2, 0.8, arch="fpn", lr=0.01),
    result(3, 0.5, arch="unet", lr=0.1),
    result(4, 0.4, arch="unet", lr=0.01),
    result(5, None, arch="<dpt>", lr=0.01),
]


def test_the_share_of_a_key_is_eta_squared_and_the_greatest_is_first():
    arch, lr = effects(GRID)
    # mean 0.65: between archs 4 * 0.2**2, between rates 4 * 0.05**2, which is all there is
    assert (arch.key, arch.share) == ("arch", pytest.approx(0.16 / 0.17))
    assert (lr.key, lr.share) == ("lr", pytest.approx(0.01 / 0.17))
    assert [(column.name, column.mean) for column in arch.columns] == [
        ("fpn", pytest.approx(0.85)),
        ("unet", pytest.approx(0.45)),
    ]
    low, high = arch.columns[0].interval
    assert (low, high) == (
        pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-4),
        pytest.approx(0.85 + 12.7062 * 0.05, abs=1e-4),
    )


def test_many_numbers_are_drawn_as_points_and_counted_in_quarters():
    (effect,) = effects([result(n, n / 10, lr=10.0**-n) for n in range(1, 9)])
    assert effect.is_log
    assert len(effect.points) == 8
    assert [len(column.scores) for column in effect.columns] == [2, 2, 2, 2]
    assert effect.share == pytest.approx(0.4 / 0.42)


def test_the_page_is_whole_and_safe_and_says_all_in_words():
    page = sweep_page(GRID, title="outputs/<x>", monitor="iou", verdict="arch=fpn is surely better & more")
    parser = HTMLParser()
    parser.feed(page)
    assert "<dpt>" not in page
    assert "&lt;dpt&gt;" in page
    assert "surely better &amp; more" in page
    assert re.findall(r"(?:src|href)=", page) == []
    assert 'aria-label="val/iou by arch: fpn 0.8500, unet 0.4500"' in page
    assert page.count("<svg") == 2
    assert len(page) < 20_000


def test_a_sweep_of_one_job_has_a_table_and_no_charts():
    page = sweep_page([result(1, 0.5, arch="fpn")], title="x", monitor="iou")
    assert "What mattered" not in page
    assert "0.5000" in page


def ticks_of(page):
    """Return the numbers beside the axis of each chart."""
    return [
        re.findall(r'text-anchor="end">([-\d.e]+)</text>', svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ]


def test_charts_have_one_axis_of_round_numbers():
    first, second = ticks_of(sweep_page(GRID, title="x", monitor="iou"))
    assert first == second == ["0.25", "0.5", "0.75", "1"]


def test_an_interval_of_two_jobs_does_not_push_their_dots_together():
    results = [result(1, 0.9, arch="fpn"), result(2, 0.7, arch="fpn"), result(3, 0.5, arch="unet")]
    (effect,) = effects(results)
    low, high = effect.columns[0].interval
    assert high - low > 2.5
    page = sweep_page(results, title="x", monitor="iou")
    dots = sorted(float(y) for y in re.findall(r'class="dot" cx="[\d.]+" cy="([\d.]+)"', page))
    assert dots[-1] - dots[0] > 90  # of 192
    (ends,) = re.findall(r'class="interval" x1="[\d.]+" y1="([\d.]+)" x2="[\d.]+" y2="([\d.]+)"', page)
    assert [float(end) for end in ends] == [204, 12]  # the edges of the chart
    assert f"<title>{low:.4f} to {high:.4f}</title>" in page


def test_a_long_value_keeps_both_of_its_ends_and_is_said_in_full():
    names = [f"mobilenetv3_{size}_100.ra_in1k" for size in ("large", "small", "tiny", "base", "huge")]
    page = sweep_page([result(n, n / 10, encoder=name) for n, name in enumerate(names)], title="x", monitor="iou")
    assert page.count("mobi…in1k<title>mobilenetv3_") == 5
    assert "mobilenetv3_huge_100.ra_in1k 0.4000" in page


def test_the_page_of_a_job_is_a_link_to_a_file_beside():
    job = Result(7, {"arch": "fpn"}, 0.5, "finished", 'sweep/"7"', page="7/report.html")
    page = sweep_page([job, GRID[0]], title="x", monitor="iou")
    assert re.findall(r"<a (.*?)</a>", page) == ['href="7/report.html">sweep/&#34;7&#34;']
