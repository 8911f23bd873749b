"""Each loss alone teaches a model to tell shapes apart."""

import json

import pytest

from segtrain.cli import main

ALONE = {
    "bce": 0.6,
    "boundary": 0.6,
    "cldice": 0.6,
    "cross_entropy": 0.6,
    "dice": 0.6,
    "focal": 0.6,
    "focal_tversky": 0.6,
    "jaccard": 0.6,
    "lovasz": 0.6,
    "mcc": 0.6,
    "ohem": 0.6,
    "tversky": 0.6,
}
"""The validation IoU that a default run of `segtrain loss=...` has to exceed, below what it was seen to reach."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_a_loss_alone_trains_shapes(name, tmp_path):
    assert main([f"loss={name}", "logger=none", f"hydra.run.dir={tmp_path}"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["val"]["iou"] > ALONE[name]
