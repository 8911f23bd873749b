"""The demo's page in a browser: an image is dropped on it, sliders are moved by keyboard, light and dark, axe-core."""

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import Browser, needs_axe, needs_browser
from tests.commands.test_demo import checkpoints, file_of, photo, serve  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, needs_browser]

COLOURS = "Array.from(document.querySelector('#canvas').getContext('2d').getImageData(0, 0, 60, 40).data)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def drop(browser, data, name="cat.png"):
    """Drop a file on the page, as the browser does after a drag."""
    text = json.dumps(base64.b64encode(data).decode())
    browser.run(
        f"""(() => {{
          const bytes = Uint8Array.from(atob({text}), each => each.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], {json.dumps(name)}, {{type: "image/png"}}));
          const event = new DragEvent("drop", {{dataTransfer: transfer, bubbles: true, cancelable: true}});
          document.querySelector("#drop").dispatchEvent(event);
        }})()"""
    )
    browser.wait_for("!document.querySelector('#said').textContent.includes('Working')")
    return browser.run("document.querySelector('#said').textContent")


def colours(browser):
    return np.array(browser.run(COLOURS)).reshape(40, 60, 4)[..., :3]


def move(browser, slider, *keys):
    browser.run(f"document.querySelector('#{slider}').focus()")
    for key in keys:
        browser.press(key)


def test_a_dropped_image_is_shown_with_its_mask_and_sliders_change_it(serve, browser):  # noqa: F811
    browser.show(serve("multilabel").address)
    assert drop(browser, file_of(photo())) == "cat.png: 60 x 40 pixels"
    before = colours(browser)
    assert "hat on" in browser.run("document.querySelector('#canvas').getAttribute('aria-label')")
    move(browser, "opacity-0", *["ArrowRight"] * 4)
    browser.wait_for("document.querySelector('output[for=opacity-0]').value == '0.70'")
    changed = (colours(browser) != before).any(-1)
    share = float(browser.run("document.querySelector('#share-0').textContent").rstrip("%"))
    assert 0 < changed.mean() <= share / 100 + 1e-3
    browser.run("document.querySelector('#threshold-0').value = 1; document.querySelector('#threshold-0').focus()")
    browser.press("ArrowLeft")
    browser.wait_for("parseFloat(document.querySelector('#share-0').textContent) < 1")
    browser.run("for (const each of document.querySelectorAll('[id^=opacity]')) { each.value = 0.05; }")
    move(browser, "opacity-0", "ArrowLeft")
    move(browser, "opacity-1", "ArrowLeft")
    alone = np.abs(colours(browser) - photo().astype(int)).mean()  # not 0, as it comes as JPEG
    assert alone < 0.5 * np.abs(before - photo().astype(int)).mean()


def test_what_is_no_image_is_said_on_the_page(serve, browser):  # noqa: F811
    browser.show(serve("binary").address)
    said = drop(browser, b"no image", "no.png")
    assert "the image" in said
    assert browser.run("document.querySelector('#said').className") == "bad"
    assert drop(browser, file_of(photo())).startswith("cat.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_and_fetches_from_its_own_server_alone(serve, browser, tmp_path, scheme):  # noqa: F811
    server = serve("multiclass")
    browser.requests.clear()
    browser.show(server.address, scheme=scheme)
    drop(browser, file_of(photo(600, 400)))
    file = Path(os.environ.get("SEGTRAIN_SCREENSHOTS", tmp_path)) / f"demo-{scheme}.png"
    browser.picture(file)
    corner = np.asarray(Image.open(file).convert("L"))[:4, :4].mean()
    assert corner > 240 if scheme == "light" else corner < 40
    assert browser.requests
    assert [each for each in browser.requests if not each.startswith((server.address, "data:"))] == []


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(serve, browser, scheme):  # noqa: F811
    browser.show(serve("multilabel").address, scheme=scheme)
    drop(browser, file_of(photo()))
    assert browser.violations() == []
