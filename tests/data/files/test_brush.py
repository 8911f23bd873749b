"""Label Studio's packed run lengths: as its own package writes them, and what is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from segtrain.data.files.brush import unpack_brush
from tests.data.tool_layouts import brush_runs

WRITTEN = Path(__file__).parents[1] / "formats" / "written"


def test_a_brush_of_label_studio_converter_is_unpacked():
    """Written by `mask2rle` of label-studio-converter 0.0.59: single values, and runs of all four sizes."""
    written = json.loads((WRITTEN / "label_studio_brush.json").read_text())
    expected = np.array([[letter == "1" for letter in row] for row in written["mask"]])
    assert 0 < expected.sum() < expected.size
    assert (unpack_brush(bytes(written["rle"]), expected.shape) == expected).all()


@pytest.mark.parametrize("seed", range(4))
def test_any_mask_comes_back(seed):
    mask = np.random.default_rng(seed).random((13, 17)) > [0.5, 0.02, 0.98, 1][seed]
    assert (unpack_brush(bytes(brush_runs(mask)), mask.shape) == mask).all()


def test_values_that_are_not_repeated_are_read_one_by_one():
    bits = f"{8:032b}{7:05b}" + "0010" * 4 + "0" + "00" + "111" + "".join(f"{v:08b}" for v in (1, 2, 3, 0, 1, 2, 3, 9))
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert unpack_brush(packed, (1, 2)).tolist() == [[False, True]]


def test_run_lengths_of_another_size_or_an_early_end_are_refused():
    packed = bytes(brush_runs(np.eye(8, dtype=bool)))
    with pytest.raises(ValueError, match="run lengths of 64 pixels, expected 81"):
        unpack_brush(packed, (9, 9))
    with pytest.raises(ValueError, match="end too early"):
        unpack_brush(packed[:-4], (8, 8))
    with pytest.raises(ValueError, match="end too early"):
        unpack_brush(b"", (8, 8))
    with pytest.raises(ValueError, match="more than 1 pixels"):
        unpack_brush(bytes(brush_runs(np.ones((1, 1), bool)))[:-4] + b"\xff\xff\xff\xff\xff", (1, 1))
