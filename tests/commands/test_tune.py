"""`segtrain tune`: a real tuning of a small model, the line that it prints, and what it refuses."""

import re
import shlex
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.config.compose import compose
from tests.conftest import TINY

FAST = ("time=6s", "device=cpu", "trainer.max_steps=20")


def line_in(text):
    """Return the words of the line to train with."""
    (line,) = re.findall(r"^  segtrain (.*)$", text, re.MULTILINE)
    return shlex.split(line)


def test_it_prints_a_table_what_bounds_and_a_line_that_trains(here, capsys):
    words = [word for word in TINY if not word.startswith("data.batch_size")]
    assert main(["tune", *words, *FAST, "margin=0"]) == 0
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if "│" in line]
    (step,), (loader,) = ([row for row in rows if row[:3] == [part, "", "as it is"]] for part in ("step", "loader"))
    assert float(step[3]) > 0
    assert float(loader[3]) > 0
    assert re.search(r"the (step|loader) bounds the run: alone it makes [\d.e+]+ images/s, the (step|loader) ", text)
    line = line_in(text)
    assert main([*line, "--cfg", "job"]) == 0
    before = compose("train", [*words, *FAST[1:]]).job
    preset = Path("my_configs") if "my_configs" in line else None
    after = compose("train", [word for word in line if "=" in word], config_dir=preset).job
    batch = after["data"]["batch_size"] * after["trainer"]["grad_accum_steps"]
    assert batch == before["data"]["batch_size"] * before["trainer"]["grad_accum_steps"]
    assert after["trainer"]["max_steps"] == 20


def test_a_memory_chooses_size_and_batch_that_were_measured_within_it(here, capsys):
    words = [word for word in TINY if not word.startswith(("data.batch_size", "data.image_size", "data.size"))]
    assert main(["tune", *words, *FAST, "data.size=96", "memory=64G"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"memory: [\d.]+ GiB measured, [\d.]+ computed as by segtrain plan", text)
    assert "images are trained on at 96, 64 before: another training" in text
    assert "image_size: 96" in Path("my_configs/experiment/tuned.yaml").read_text()


def test_mistakes_are_told_before_anything_is_measured(refused, here):
    for words, message in (
        (["memory=8"], "memory: expected a size such as 8G"),
        (["time=soon"], "time: "),
        (["resume=run"], "resume: settings are for new runs; leave it out"),
        (["preset=pets_lite0"], "preset=pets_lite0: is an experiment already"),
        (["device=cuda:99"], "device=cuda:99"),
        (["tiem=60s"], "tiem: unknown key"),
    ):
        (line,) = refused("tune", *TINY, *words)
        assert message in line


def test_a_memory_that_nothing_fits_in_is_told_with_what_is_needed(refused, here):
    (line,) = refused("tune", *TINY, *FAST, "memory=10M")
    assert re.search(r"memory: \d images of 32 pixels at a time are too much \([\d.]+ GiB\)", line)


@pytest.mark.slow
def test_the_printed_line_trains(here, capsys):
    words = ["arch=unet", "encoder=resnet18", "data=shapes", "data.train=64", "data.val=8", "logger=none"]
    assert main(["tune", *words, "trainer.epochs=2", "time=60s"]) == 0
    line = line_in(capsys.readouterr().out)
    assert main([*line, "hydra.run.dir=run"]) == 0
    assert Path("run/checkpoints/best.pt").exists()
