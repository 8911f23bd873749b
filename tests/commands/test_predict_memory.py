"""`segtrain predict` with tiles holds rows of a large TIFF, not the whole: memory does not grow with the height."""

import numpy as np
import pytest
import tifffile

from segtrain.cli import main
from tests.conftest import TINY
from tests.processes import measured

_WIDTH, _HEIGHTS = 6000, (6000, 12_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "run"
    assert main([*TINY, "arch=fpn", "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    return folder


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
        done, peaks[height] = measured("predict", run, f"{height}.tif", f"masks{height}", *tiles)
        assert done.returncode == 0, done.stderr
        with tifffile.TiffFile(here / f"masks{height}" / f"{height}.tif") as mask:
            assert mask.pages[0].shape == shape[:2]
    low, high = peaks.values()
    more = (_HEIGHTS[1] - _HEIGHTS[0]) * _WIDTH / 2**20  # MiB of a byte for each pixel more: colours have three
    assert high - low < more, peaks
