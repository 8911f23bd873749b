"""Trackio, by a stand-in for its package with the signatures of its documentation (0.27)."""

import sys
from types import SimpleNamespace

from segtrain.loggers import Trackio


def test_a_run_goes_on_under_its_name(tmp_path, monkeypatch):
    calls = []

    def init(project, name=None, space_id=None, config=None, resume="never"):
        calls.append((project, name, config, resume))

    stand_in = SimpleNamespace(
        init=init,
        log=lambda metrics, step=None: calls.append((step, metrics)),
        finish=lambda: calls.append("finished"),
        Image=lambda picture: "image",
    )
    monkeypatch.setattr("segtrain.loggers.trackio.require", lambda *_: None)
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    for step in (0, 5):
        logger = Trackio(tmp_path)
        logger.start(step, "seed: 3")
        logger.scalars(step + 1, {"train/loss": 0.5})
        logger.picture(step + 1, "val/0", None)
        logger.finish({}, {"best/iou": 0.9})
    (first, second) = (call for call in calls if len(call) == 4 and call[0] == "segtrain")
    assert first[1] == second[1]
    assert (first[3], second[3], first[2]) == ("never", "allow", {"seed": 3})
    assert calls[1:5] == [(1, {"train/loss": 0.5}), (1, {"val/0": "image"}), (1, {"best/iou": 0.9}), "finished"]
