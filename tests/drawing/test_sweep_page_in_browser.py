"""The page of a sweep in a browser, light and dark: looked at, gone through by keyboard, held to axe-core."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from segtrain.cli import main
from segtrain.drawing.sweep_page import Result, sweep_page
from tests.browser import Browser, brightness, needs_axe, needs_browser
from tests.conftest import TINY

pytestmark = [pytest.mark.browser, needs_browser]

ENCODERS = ["mobilenetv3_large_100.ra_in1k", "mobilenetv3_small_100.lamb_in1k", "convnextv2_atto.fcmae_ft_in1k"]
ERROR = "the GPU is out of memory: data.batch_size=64 needs 12.3 GiB, there are 8; lower it"
PAGES = ["sweep", "search"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A real sweep, and a search of long names, many numbers and failures."""
    folder = tmp_path_factory.mktemp("sweep")
    varied = ["arch=unet,fpn", "loss=cross_entropy,dice", "seed=0,1"]
    assert main(["-m", *varied, *TINY, "trainer.epochs=1", f"hydra.sweep.dir={folder}"]) == 0
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    rng = np.random.default_rng(0)
    trials = [
        Result(
            number,
            {"encoder": ENCODERS[number % 3], "optimizer.lr": float(10.0 ** rng.uniform(-5, -1)), "n": number % 7},
            None if number == 5 else 0.5 + 0.1 * float(rng.random()),
            "failed" if number == 5 else "pruned" if number % 4 else "finished",
            f"outputs/searches/2026-11-28_23-39-02/{number}",
            seconds=1e4 * number,
            error=ERROR if number == 5 else "",
        )
        for number in range(12)
    ]
    text = sweep_page(trials, title="outputs/searches/2026-11-28_23-39-02", monitor="iou")
    (folder / "search.html").write_text(text, encoding="utf-8")
    return {"sweep": folder / "report.html", "search": folder / "search.html"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("page", PAGES)
def test_it_is_light_or_dark_as_the_system_is_and_fetches_nothing(pages, browser, tmp_path, page):
    browser.requests.clear()
    folder = Path(os.environ.get("SEGTRAIN_SCREENSHOTS", tmp_path))
    margins = {}
    for scheme in ("light", "dark"):
        browser.show(pages[page].as_uri(), scheme=scheme)
        browser.picture(folder / f"{page}-{scheme}.png")
        margins[scheme] = brightness(folder / f"{page}-{scheme}.png")
    assert margins["light"] > 240
    assert margins["dark"] < 40
    assert [each for each in browser.requests if not each.startswith(pages[page].as_uri())] == []


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(pages, browser, page, scheme):
    browser.show(pages[page].as_uri(), scheme=scheme)
    assert browser.violations() == []


def luminance(colour):
    """Return the relative luminance of WCAG 2, of 0 to 255 red, green and blue."""
    parts = np.asarray(colour) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("mark", "property"), [(".dot", "fill"), (".mean", "fill"), (".interval", "stroke")])
def test_marks_stand_out_from_the_paper(pages, browser, mark, property, scheme):
    """WCAG 1.4.11, which axe-core does not look at: graphics have a contrast of 3 to 1."""
    browser.show(pages["sweep"].as_uri(), scheme=scheme)
    style = f"getComputedStyle(document.querySelector('{mark}'))"
    colour, opacity, paper = (
        np.array([float(part) for part in re.findall(r"[\d.]+", browser.run(script))])
        for script in (
            f"{style}.{property}",
            f"{style}.{property}Opacity",
            "getComputedStyle(document.body).backgroundColor",
        )
    )
    lights = sorted([luminance(opacity * colour + (1 - opacity) * paper), luminance(paper)])
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 3


def test_a_keyboard_is_enough_to_open_the_page_of_the_best_job(pages, browser):
    browser.show(pages["sweep"].as_uri())
    browser.press("Tab")
    assert browser.run("document.activeElement.getAttribute('aria-label')") == "All jobs, from best to worst"
    browser.press("Tab")
    assert browser.run("document.activeElement.tagName") == "A"
    best = browser.run("document.activeElement.getAttribute('href')")
    assert (pages["sweep"].parent / best).is_file()
    browser.press("Enter")
    browser.wait_for(f"location.href.endsWith('{best}') && document.readyState == 'complete'")
    assert browser.run("document.querySelector('nav a[href=\"#scores\"]') !== null")


@pytest.mark.parametrize("page", PAGES)
def test_words_of_a_chart_lie_within_it_and_apart(pages, browser, page):
    browser.show(pages[page].as_uri())
    charts = browser.run(
        """Array.from(document.querySelectorAll('svg')).map(svg => [svg.getBoundingClientRect().toJSON(),
             Array.from(svg.querySelectorAll('text')).map(text => text.getBoundingClientRect().toJSON())])"""
    )
    assert len(charts) == 3
    for whole, words in charts:
        assert len(words) > 3
        for number, word in enumerate(words):
            assert whole["left"] <= word["left"] <= word["right"] <= whole["right"]
            assert word["bottom"] <= whole["bottom"]
            for other in words[:number]:
                apart = word["left"] > other["right"] or word["right"] < other["left"]
                assert apart or word["top"] >= other["bottom"] - 1 or word["bottom"] <= other["top"] + 1


@pytest.mark.parametrize("page", PAGES)
def test_a_narrow_window_needs_no_scrolling_sideways_and_breaks_no_number(pages, browser, page):
    browser("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    browser.show(pages[page].as_uri())
    assert browser.run("document.documentElement.scrollWidth") <= 400
    heights = browser.run("Array.from(document.querySelectorAll('tbody tr')).map(row => row.offsetHeight)")
    browser("Emulation.clearDeviceMetricsOverride")
    one_line = min(heights)
    assert one_line < 40
    long = [height for height in heights if height > one_line]
    assert len(long) == (1 if page == "search" else 0)  # the row of an error
    assert all(height < 5 * one_line for height in long)
