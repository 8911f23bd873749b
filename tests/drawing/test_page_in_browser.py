"""The page of a run in a browser, light and dark: looked at, clicked, gone through by keyboard, held to axe-core."""

import os
from pathlib import Path

import pytest

from segtrain.cli import main
from tests.browser import Browser, brightness, needs_axe, needs_browser
from tests.conftest import TINY

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name in "ab":
        words = [*TINY, "trainer.epochs=2", f"seed={ord(name)}", f"hydra.run.dir={folder / name}"]
        assert main(words) == 0
        assert main(["report", str(folder / name), "eval.bootstrap=50"]) == 0
    assert main(["report", str(folder / "a"), str(folder / "b"), f"output={folder / 'both.html'}"]) == 0
    return {"run": folder / "a" / "report.html", "comparison": folder / "both.html"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("page", ["run", "comparison"])
def test_it_is_light_or_dark_as_the_system_is_and_fetches_nothing(pages, browser, tmp_path, page):
    browser.requests.clear()
    folder = Path(os.environ.get("SEGTRAIN_SCREENSHOTS", tmp_path))
    found = {}
    for scheme in ("light", "dark"):
        browser.show(pages[page].as_uri(), scheme=scheme)
        browser.picture(folder / f"report-{page}-{scheme}.png")
        found[scheme] = brightness(folder / f"report-{page}-{scheme}.png")
    assert found["light"] > 240
    assert found["dark"] < 40
    outside = [each for each in browser.requests if not each.startswith(("data:", pages[page].as_uri()))]
    assert outside == []


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["run", "comparison"])
def test_axe_finds_no_violation(pages, browser, page, scheme):
    browser.show(pages[page].as_uri(), scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.violations() == []


def test_a_click_unfolds_pictures_and_follows_the_contents(pages, browser):
    browser.show(pages["run"].as_uri())
    shut = "document.querySelector('#images details:not([open])')"
    browser.run(f"{shut}.id = 'chosen'")
    assert browser.run("document.querySelector('#chosen img').checkVisibility()") is False
    browser.click("#chosen summary")
    browser.wait_for("document.querySelector('#chosen img').checkVisibility()")
    assert browser.run("document.querySelector('#chosen img').naturalWidth") == 320
    browser.click("nav a[href='#confusion']")
    browser.wait_for("Math.abs(document.querySelector('#confusion').getBoundingClientRect().top) < 200")


def test_a_keyboard_is_enough(pages, browser):
    browser.show(pages["run"].as_uri())
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    browser.wait_for("document.activeElement.id == 'content'")
    for _ in range(60):
        browser.press("Tab")
        if browser.run("document.activeElement.tagName") == "SUMMARY":
            break
    was_open = browser.run("document.activeElement.parentElement.open")
    browser.press("Enter")
    assert browser.run("document.activeElement.parentElement.open") is not was_open


def test_a_narrow_window_needs_no_scrolling_sideways(pages, browser):
    browser("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    browser.show(pages["run"].as_uri())
    assert browser.run("document.documentElement.scrollWidth") <= 400
    browser("Emulation.clearDeviceMetricsOverride")
