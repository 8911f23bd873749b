"""The logger that kills its process does so at the training step that it was given, and not before."""

import os
import signal
from pathlib import Path

from segtrain.loggers import Crash


def test_it_kills_at_the_first_training_step_from_the_given_one_on(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    logger = Crash(Path(), step=3)
    logger.scalars(2, {"train/loss": 0.5})
    logger.scalars(3, {"val/iou": 0.5})
    assert sent == []
    logger.scalars(4, {"train/loss": 0.5})
    assert sent == [(os.getpid(), signal.SIGKILL)]
