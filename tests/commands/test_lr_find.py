"""`segtrain lr_find`: what it prints and writes, and what it refuses."""

import csv
import re

import numpy as np
from PIL import Image

from segtrain.cli import main
from tests.conftest import TINY


def test_it_prints_a_rate_that_it_tried_and_writes_a_picture_and_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["optimizer=sgd", "scheduler=constant", "steps=30", "lowest=1e-4", "highest=10"]
    assert main(["lr_find", *TINY, *words, "output=found/rates.png"]) == 0
    out = capsys.readouterr().out
    suggested = re.search(r"falls fastest at optimizer\.lr=(\S+)", out)[1]
    rows = list(csv.DictReader((tmp_path / "found" / "rates.csv").open()))
    assert float(rows[0]["lr"]) == 1e-4
    assert suggested in {f"{float(row['lr']):.2g}" for row in rows}
    picture = np.asarray(Image.open(tmp_path / "found" / "rates.png"))
    assert picture.ndim == 3
    assert np.ptp(picture.astype(int), axis=2).max() > 50  # coloured lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found"]  # and no run folder


def test_what_makes_no_sense_is_refused(capsys):
    for words, message in (
        (["output=rates.jpg"], "output=rates.jpg: expected the name of a PNG file"),
        (["lowest=1", "highest=0.1"], "highest=0.1: expected more than lowest=1"),
        (["resume=run"], "resume: a test of rates starts from new weights"),
    ):
        assert main(["lr_find", *TINY, *words]) == 2
        assert message in capsys.readouterr().err
