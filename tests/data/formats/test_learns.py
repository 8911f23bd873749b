"""Formats carry what a model learns from: trainings on generated data reach the IoU that is stated here."""

import json

import numpy as np
import tifffile

from segtrain.cli import main
from tests.data.layouts import save, scenes

SPLITS = {"train": 48, "val": 12}
WORDS = (
    "encoder=test_resnet",
    "encoder.weights=null",
    "augment=none",
    "data.image_size=[32,32]",
    "data.batch_size=8",
    "data.num_workers=0",
    "logger=none",
    "optimizer.lr=0.003",
)


def best_iou(run):
    return json.loads((run / "scores.json").read_text())["val"]["iou"]


def test_a_class_that_only_the_fourth_band_of_a_tiff_shows_is_learned(here):
    rng = np.random.default_rng(0)
    for split, name, _, labels in scenes(2, SPLITS):
        bands = rng.integers(0, 4096, (4, *labels.shape), np.uint16)
        bands[3] = 1000 + 2000 * labels.astype(int) + rng.integers(0, 400, labels.shape)
        (here / "data" / "images" / split).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            here / "data" / "images" / split / f"{name}.tif", bands, planarconfig="separate", photometric="minisblack"
        )
        save(here / "data" / "masks" / split / f"{name}.png", labels)
    words = [
        "data=folder",
        f"data.root={here / 'data'}",
        "data.classes=[field]",
        "data.channels=4",
        "data.value_range=[0,4095]",
    ]
    assert main([*words, *WORDS, "trainer.epochs=10", f"hydra.run.dir={here / 'run'}"]) == 0
    assert best_iou(here / "run") > 0.8


def test_classes_that_overlap_in_columns_of_a_table_are_learned(here):
    rows = ["image,mask:red,mask:green,split\n"]
    for split, name, _, first in scenes(2, SPLITS):
        second = np.roll(first, 3, axis=1)  # overlaps the first
        photo = np.stack([first * 200, second * 200, np.full_like(first, 90)], -1).astype(np.uint8)
        save(here / f"{name}.png", photo)
        for colour, mask in (("red", first), ("green", second)):
            save(here / colour / f"{name}.png", mask)
        rows.append(f"{name}.png,red/{name}.png,green/{name}.png,{split}\n")
    (here / "samples.csv").write_text("".join(rows))
    words = ["data=csv", f"data.root={here / 'samples.csv'}", "data.classes=[red,green]", "data.mode=multilabel"]
    assert main([*words, *WORDS, "trainer.epochs=6", f"hydra.run.dir={here / 'run'}"]) == 0
    assert best_iou(here / "run") > 0.8
