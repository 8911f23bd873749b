"""What TensorBoard shows of a run folder: read through its own server, and looked at in a browser."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segtrain.cli import main
from tests.conftest import TINY

RUN = (*[word for word in TINY if word != "logger=none"], "logger=tensorboard", "trainer.epochs=2")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert main([*RUN, "trainer.log_every=2", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def events(run):
    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    return accumulator.Reload()


def test_scalars_hold_the_losses_and_every_class(events):
    names = set(events.Tags()["scalars"])
    assert {"train/loss", "train/lr", "val/iou", "val/loss", "val_iou/disc", "val_iou/star"} <= names
    assert len(events.Scalars("val/iou")) == 2


def test_the_same_validation_images_are_drawn_every_time(events):
    assert set(events.Tags()["images"]) == {*(f"val/{n}" for n in range(4)), "val/confusion"}
    assert [image.step for image in events.Images("val/0")] == [10, 20]


def test_the_config_and_the_hyper_parameters_are_there(events):
    assert any("config" in name for name in events.Tags()["tensors"])
    assert "best/iou" in events.Tags()["scalars"]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("page", ["timeseries", "images"])
def test_a_browser_shows_scalars_and_images(run, tmp_path, page):
    port = 6100 + os.getpid() % 800
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), f"--port={port}", "--load_fast=false"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_tags(f"http://localhost:{port}/data/plugin/images/tags")
        picture = Path(os.environ.get("SEGTRAIN_SCREENSHOTS", tmp_path)) / f"tensorboard-{page}.png"
        screenshot(f"http://localhost:{port}/#{page}", picture, tmp_path / "profile")
    finally:
        server.terminate()
        server.wait()
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200, "the page is (almost) empty"


def wait_for_tags(address):
    for _ in range(120):
        try:
            if json.loads(urlopen(address).read()):
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("TensorBoard showed no images within a minute")


def screenshot(address, picture, profile):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --window-size=1400,1000 --virtual-time-budget=30000"
    )
    words = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", f"--screenshot={picture}", address]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
