"""`segtrain plan` lays out what many GPUs would need, without any."""

import pytest

from segtrain.cli import main

MODEL = ("arch=fpn", "encoder=resnet18", "data.image_size=64", "data.batch_size=2", "classes=19")


def rows(capsys, *words):
    assert main(["plan", *MODEL, *words]) == 0
    lines = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line] for line in lines]


def test_each_number_of_gpus_and_strategy_has_a_row(capsys):
    found = rows(capsys, "gpus=[8,64]")
    assert [row[:2] for row in found] == [["8", "ddp"], ["8", "fsdp"], ["64", "ddp"], ["64", "fsdp"]]
    sent = [float(row[7]) for row in found]
    assert sent[1] == pytest.approx(1.5 * sent[0], rel=0.01)
    assert sent[2] / sent[0] == pytest.approx((63 / 64) / (7 / 8), rel=0.01)
    sums = [float(row[6].partition(" ")[0]) for row in found]
    assert sums[3] < sums[1] < sums[0] == sums[2]
    for row in found:
        assert float(row[6]) == pytest.approx(sum(map(float, row[2:6])), abs=0.02)


def test_a_slower_network_makes_it_less_efficient_and_what_does_not_fit_is_marked(capsys):
    (quick,) = rows(capsys, "gpus=16", "strategy=ddp")
    (slow,) = rows(capsys, "gpus=16", "strategy=ddp", "network=1", "memory=0.01")
    assert float(slow[10].rstrip("%")) < float(quick[10].rstrip("%"))
    assert slow[6].endswith("> 0.01")


def test_the_strategy_of_the_training_is_the_one_that_is_computed(capsys):
    (row,) = rows(capsys, "gpus=16", "trainer.strategy=fsdp")
    assert row[:2] == ["16", "fsdp"]


def test_what_is_not_counted_is_said(capsys):
    assert main(["plan", *MODEL, "trainer.grad_accum_steps=4"]) == 0
    assert "trainer.grad_accum_steps=4: not counted, a step is one batch here" in capsys.readouterr().out


def test_the_number_of_classes_is_that_of_the_data_or_asked_for(capsys, refused, here):
    words = ["arch=fpn", "encoder=resnet18", "data.image_size=64"]
    assert main(["plan", *words]) == 0
    assert " 5 classes" in capsys.readouterr().out
    (line,) = refused("plan", *words, "data=coco", "data.root=nowhere")
    assert line.endswith("write classes=<number>")
