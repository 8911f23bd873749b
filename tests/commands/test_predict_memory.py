"""`segtrain predict` with tiles holds rows of a large TIFF, not the whole: memory does not grow with the height."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from segtrain.cli import main
from tests.conftest import TINY

_WIDTH, _HEIGHTS = 6000, (6000, 12_000)
_LEAST = 2**10  # KiB in a MiB
_BETWEEN = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "run"
    assert main([*TINY, "arch=fpn", "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    return folder


def peak_of(*words):
    """Run `segtrain predict` in a process of its own, and return the most memory that it held, in MiB."""
    # by a small process between: what is started counts as much as that which starts it
    command = [sys.executable, "-c", _BETWEEN, sys.executable, "-m", "segtrain", "predict", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) / _LEAST


@pytest.mark.slow
def test_an_image_of_twice_the_height_takes_no_more_memory(run, here):
    rng = np.random.default_rng(0)
    strip = rng.integers(0, 256, (100, _WIDTH, 3), dtype=np.uint8)
    peaks = {}
    for height in _HEIGHTS:
        rows = (strip for _ in range(height // len(strip)))
        shape = (height, _WIDTH, 3)
        tifffile.imwrite(here / f"{height}.tif", rows, shape=shape, dtype=np.uint8, rowsperstrip=100, photometric="rgb")
        tiles = ["infer=tiles", "infer.size=512", "infer.overlap=0", "device=cpu"]
        peaks[height] = peak_of(run, f"{height}.tif", f"masks{height}", *tiles)
        with tifffile.TiffFile(here / f"masks{height}" / f"{height}.tif") as mask:
            assert mask.pages[0].shape == shape[:2]
    low, high = peaks.values()
    more = (_HEIGHTS[1] - _HEIGHTS[0]) * _WIDTH / 2**20  # MiB of a byte for each pixel more: colours have three
    assert high - low < more, peaks
