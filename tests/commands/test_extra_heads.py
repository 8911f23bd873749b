"""Heads beside the main one, through the real command line: trained, resumed, evaluated, loaded, exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain import load_model
from segtrain.cli import main

HEADS = ("image_head=classification", "data.image_labels=labels.csv", "arch.aux_heads=[16]")
SMALL = (
    "data=folder",
    "data.classes=[thing]",
    "data.image_size=64",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.val_fraction=0.25",
    "encoder=test_resnet",
    "encoder.weights=null",
    "loss=bce_dice",
    "scheduler=constant",
    "trainer.precision=fp32",
    "trainer.log_every=1",
    "logger=none",
)


def make_data(root: Path) -> None:
    """Pictures of a bright thing on the left or on the right, and a table that says where."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    lines = ["id,label"]
    for number in range(16):
        start, side = ((4, "left"), (34, "right"))[number % 2]
        mask = np.zeros((64, 64), np.uint8)
        mask[20:44, start : start + 24] = 1
        image = rng.integers(0, 90, (64, 64, 3)) + 150 * mask[..., None]
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:02d}.png")
        lines.append(f"{number:02d},{side}")
    (root / "labels.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_data(root)
    return root


def train(data, folder, *words):
    return main([*SMALL, f"data.root={data}", *words, f"hydra.run.dir={folder}"])


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(data, folder, *HEADS, "trainer.max_steps=2") == 0
    return folder


def entries(folder, split):
    return [
        entry
        for entry in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        if entry["split"] == split
    ]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"]


def test_the_log_holds_the_losses_of_every_head_and_the_accuracy_of_the_labels(run):
    assert len(entries(run, "train")) == 2
    for entry in entries(run, "train"):
        terms = {name: entry[f"loss/{name}"] for name in ("bce", "dice", "aux", "labels")}
        expected = terms["bce"] + terms["dice"] + 0.4 * terms["aux"] + 0.4 * terms["labels"]
        assert entry["loss"] == pytest.approx(expected, rel=1e-5)
    scores = json.loads((run / "scores.json").read_text())["val"]
    assert scores["label_accuracy"] * 4 in range(5)


def test_weights_of_losses_are_those_of_the_config(data, tmp_path):
    assert train(data, tmp_path, *HEADS, "loss.aux_weight=0", "image_head.weight=2.0", "trainer.max_steps=1") == 0
    (entry,) = entries(tmp_path, "train")
    expected = entry["loss/bce"] + entry["loss/dice"] + 2 * entry["loss/labels"]
    assert entry["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_head_learns_the_labels(data, tmp_path):
    learn = (
        "trainer.epochs=12",
        "optimizer.lr=0.003",
        "image_head.pooling=max",
        "augment=none",
        "trainer.val_every=12",
    )
    assert train(data, tmp_path, *HEADS, *learn) == 0
    losses = [entry["loss/labels"] for entry in entries(tmp_path, "train")]
    assert losses[-1] < 0.5 * losses[0]


def test_auxiliary_heads_need_no_labels_of_images(data, tmp_path):
    assert train(data, tmp_path, "arch.aux_heads=[8,16]", "trainer.max_steps=1") == 0
    (entry,) = entries(tmp_path, "train")
    assert "loss/aux" in entry
    assert "loss/labels" not in entry
    assert any(name.startswith("aux_heads.") for name in weights(tmp_path))


def test_a_run_with_every_head_goes_on_as_if_it_had_never_stopped(data, tmp_path):
    words = (*HEADS, "trainer.grad_accum_steps=2", "trainer.ema_decay=0.9")
    assert train(data, tmp_path / "whole", *words, "trainer.epochs=2") == 0
    assert train(data, tmp_path / "halves", *words, "trainer.epochs=1") == 0
    assert main([f"resume={tmp_path / 'halves'}", "trainer.epochs=2"]) == 0
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    assert [name for name in whole if not torch.equal(whole[name], halves[name])] == []


def test_eval_repeats_the_accuracy_of_the_labels_and_prints_it(run, tmp_path, capsys):
    assert main(["eval", f"ckpt={run}", f"output={tmp_path}"]) == 0
    again, first = (json.loads((folder / "scores.json").read_text())["val"] for folder in (tmp_path, run))
    assert again["label_accuracy"] == first["label_accuracy"]
    assert f"label accuracy {first['label_accuracy']:.4f}" in capsys.readouterr().out


def test_eval_on_data_without_labels_scores_the_pixels(run, tmp_path):
    assert main(["eval", f"ckpt={run}", f"output={tmp_path}", "data.image_labels=null"]) == 0
    assert "label_accuracy" not in json.loads((tmp_path / "scores.json").read_text())["val"]


def test_eval_refuses_labels_of_another_kind(run, data, tmp_path, capsys):
    table = (data / "labels.csv").read_text().replace("left", "up")
    (data / "other.csv").write_text(table)
    assert main(["eval", f"ckpt={run}", f"output={tmp_path}", "data.image_labels=other.csv"]) == 2
    message = capsys.readouterr().err
    assert "images have the labels right, up, the checkpoint was trained on left, right" in message
    assert "set data.image_labels=null" in message


def test_predict_writes_masks_alone(run, data, tmp_path):
    assert main(["predict", f"ckpt={run}", f"input={data / 'images'}", f"output={tmp_path}", "overlay=null"]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 16


def test_a_loaded_model_answers_for_pixels_and_image_without_what_only_training_uses(run):
    model = load_model(run)
    assert (model.class_names, model.image_classes) == (("thing",), ("left", "right"))
    logits, labels = model(torch.randn(2, 3, 45, 61))
    assert (logits.shape, labels.shape) == ((2, 1, 45, 61), (2, 2))
    assert not [name for name in model.state_dict() if name.startswith("aux_heads")]


def test_a_loaded_model_gives_probabilities_if_asked_and_exports_so(run):
    raw, model = load_model(run), load_model(run, activation="sigmoid")
    image = torch.randn(1, 3, 64, 64)
    exported = torch.export.export(model, (image,), strict=False).module()
    with torch.no_grad():
        logits, labels = raw(image)
        for found in (model(image), exported(image)):
            torch.testing.assert_close(found[0], logits.sigmoid())
            torch.testing.assert_close(found[1], labels)


def test_a_run_started_from_weights_of_other_heads_makes_its_own(run, data, tmp_path):
    assert train(data, tmp_path, f"init_from={run}", "arch.aux_heads=[8]", "trainer.max_steps=1") == 0
    kept = weights(tmp_path)
    assert not any(name.startswith("classification_head.") for name in kept)
    assert [heads_of(kept), heads_of(weights(run))] == [{"3"}, {"4"}]


def heads_of(state):
    return {name.split(".")[1] for name in state if name.startswith("aux_heads.")}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ("image_head=classification",),
            ("image_head: the data gives no labels of whole images", "data.image_labels=labels.csv"),
        ),
        (("arch.aux_heads=[64]",), ("arch.aux_heads: the encoder has no map of stride 64", "arch.aux_heads=[32]")),
        (("arch.aux_heads=16",), ("arch.aux_heads: expected a list such as [a,b], got 16",)),
        (
            ("image_head.weight=1",),
            ("image_head.weight: nothing is chosen for image_head; add image_head=classification",),
        ),
        (("image_head=clasification",), ("image_head=clasification: no such choice", "classification")),
        ((*HEADS, "image_head.pooling=mean"), ("image_head.pooling: expected one of avg, max", "got 'mean'")),
        ((*HEADS, "image_head.num_classes=3"), ("image_head.num_classes: unknown key",)),
        ((*HEADS, "image_head.weight=-1"), ("image_head.weight: expected at least 0, got -1",)),
        (("loss.aux_weight=x",), ("loss.aux_weight: expected a number, got 'x'",)),
        (("data.image_labels=none.csv",), ("none.csv: cannot be read: No such file", "data.image_labels=null")),
    ],
)
def test_what_does_not_fit_is_explained_in_one_line(words, parts, data, tmp_path, capsys):
    assert train(data, tmp_path / "run", *words, "trainer.max_steps=1") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]
    assert not (tmp_path / "run").exists()


def test_labels_that_nothing_learns_are_mentioned(data, tmp_path, capsys):
    assert train(data, tmp_path, "data.image_labels=labels.csv", "trainer.max_steps=1") == 0
    assert "nothing learns the labels of whole images; add image_head=classification" in capsys.readouterr().out
