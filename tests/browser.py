"""Headless Chromium, driven over a pipe by its own protocol: pages are opened, clicked, typed into and looked at.

``apt-get install chromium`` gives the browser. The rules of accessibility are those of axe-core (MPL-2.0), which is not
in this repository: ``npm pack axe-core``, and ``SEGTRAIN_AXE=path/to/axe.min.js``.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = Path(os.environ.get("SEGTRAIN_AXE", "node_modules/axe-core/axe.min.js"))
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe --window-size=1300,1000"
)
_PATIENCE = 90.0  # seconds
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="needs axe-core: npm pack axe-core, SEGTRAIN_AXE=.../axe.min.js"
)


class Browser:
    """One page in a browser of its own; a context manager."""

    def __init__(self, profile):
        (reads, self.sends), (self.receives, writes) = os.pipe(), os.pipe()
        words = f'exec "$0" {_FLAGS} --user-data-dir="$1" 3<&{reads} 4>&{writes}'
        command = ["bash", "-c", words, CHROMIUM, str(profile)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(reads, writes), **quiet)
        os.close(reads)
        os.close(writes)
        self.number, self.session, self.waiting = 0, None, b""
        self.requests = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            self(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.sends)
        os.close(self.receives)

    def __call__(self, method, **parameters):
        """Send a command, and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.sends, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
        raise AssertionError(f"{method} has had no answer")

    def _next(self):
        while b"\0" not in self.waiting:
            part = os.read(self.receives, 1 << 20)
            assert part, "the browser is gone"
            self.waiting += part
        message, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(message)

    def show(self, address, *, scheme="light"):
        """Open an address in a colour scheme, and wait until it is there."""
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self("Page.setBypassCSP", enabled=True)
        self("Page.navigate", url=address)
        self.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")

    def run(self, script):
        """Evaluate JavaScript, and return its value, of a promise too."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition):
        """Wait until JavaScript is true."""
        end = time.monotonic() + _PATIENCE
        while not self.run(condition):
            assert time.monotonic() < end, f"{condition} has not come true"
            time.sleep(0.05)

    def click(self, selector):
        """Click into the middle of an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.run(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def press(self, key):
        """Press a key, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        self("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, file):
        """Write a screenshot of the whole page."""
        size = self("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 15000), "scale": 1}
        found = self("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        Path(file).write_bytes(base64.b64decode(found["data"]))

    def violations(self):
        """Return what axe-core finds, as a line each."""
        self.run(AXE.read_text(encoding="utf-8") + ";true")
        found = self.run("axe.run().then(found => found.violations)")
        return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]


def brightness(file):
    """Return the brightness, 0 to 255, in the middle of the page's margin, where nothing is drawn."""
    pixels = np.asarray(Image.open(file).convert("L"))
    assert len(np.unique(pixels)) > 60, "the page is (almost) empty"
    return int(np.median(pixels[:, :4]))
