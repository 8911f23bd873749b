"""`segtrain bench`: costs that can be counted by hand, rows for all that runs, a line for what does not."""

import csv
from itertools import product

import pytest
import torch

from segtrain.build import benching
from segtrain.cli import main
from segtrain.models import create_model
from tests.conftest import TINY

QUICK = ("seconds=0.01", "warmup=0", "device=cpu", "precision=fp32")


def read(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_model_by_name_is_measured_by_backend_size_and_batch(here, capsys):
    words = ["arch=fpn", *TINY, "sizes=[32,64]", "batches=[1,3]", "backends=[torch]"]
    assert main(["bench", *words, *QUICK]) == 0
    rows = read(here / "bench.csv")
    variants = [(row["backend"], row["height"], row["batch"]) for row in rows]
    assert variants == list(product(["torch"], ("32", "64"), ("1", "3")))
    for row in rows:
        assert 0 < float(row["ms_low"]) <= float(row["ms"]) <= float(row["ms_high"])
        assert float(row["images_per_second"]) == pytest.approx(1000 * int(row["batch"]) / float(row["ms"]), rel=0.01)
    parameters = sum(parameter.numel() for parameter in create_model("fpn", "test_resnet").parameters())
    assert f"{parameters / 1e6:.2f} million parameters" in capsys.readouterr().out


def test_macs_are_those_of_convolutions_counted_by_hand():
    model = torch.nn.Conv2d(3, 8, 3, padding=1)
    model.in_channels = 3
    assert benching.count_macs(model, (10, 20)) == 10 * 20 * 8 * 3 * 9


@pytest.fixture
def without_compiler(monkeypatch):
    def failing(*_, **__):
        raise torch._dynamo.exc.TorchDynamoException("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    monkeypatch.setattr(benching, "Network", lambda _model, _runtime, *, module: module)


def test_what_cannot_run_is_said_in_a_line_and_the_others_go_on(here, capsys, without_compiler):
    assert main(["bench", "arch=fpn", *TINY, "batches=[1]", "backends=[compiled,torch]", *QUICK]) == 0
    assert "compiled, batch 1 at 32x32: cannot run (no compiler here)" in capsys.readouterr().out
    assert [row["backend"] for row in read(here / "bench.csv")] == ["torch"]


def test_where_nothing_runs_the_command_fails(here, refused, without_compiler):
    lines = refused("bench", "arch=fpn", *TINY, "batches=[1]", "backends=[compiled]", *QUICK)
    assert "no backend can run" in lines[-1]


@pytest.mark.slow
def test_a_checkpoint_and_its_file_are_measured(here, capsys):
    assert main([*TINY, "trainer.max_steps=1", "arch=fpn", "hydra.run.dir=run"]) == 0
    assert main(["export", "run", "shapes=static", "output=model.onnx", "check=1"]) == 0
    assert main(["bench", "run", "batches=[2]", "backends=[torch,compiled,onnx]", *QUICK]) == 0
    assert [row["backend"] for row in read(here / "bench.csv")] == ["torch", "compiled", "onnx"]
    assert main(["bench", "model.onnx", "batches=[2]", "backends=[torch,onnx]", "output=onnx.csv", *QUICK]) == 0
    assert "torch at 32x32: the file holds no weights to run otherwise" in capsys.readouterr().out
    assert [row["backend"] for row in read(here / "onnx.csv")] == ["onnx"]
    assert main(["export", "run", "format=torch_export", "output=model.pt2", "check=1"]) == 0
    assert main(["bench", "model.pt2", "batches=[2]", "backends=[torch,onnx]", "output=pt2.csv", *QUICK]) == 0
    assert [row["backend"] for row in read(here / "pt2.csv")] == ["torch"]
