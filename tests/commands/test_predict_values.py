"""What the masks that `segtrain predict` writes hold: the data's own values or colours, or labels."""

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain.cli import main
from segtrain.data.formats.coco import Coco
from segtrain.data.formats.folder import Folder
from tests.data.formats.test_end_to_end import TINY
from tests.data.layouts import camvid, cvat_masks, save, scenes
from tests.data.tool_layouts import coco

CLASS_MAP = "{0: background, 100: cat, 200: cat, 9: ignore}"
CLASSES = "[background,cat]"


def pets(root):
    """Masks of 0, 100 and 200, both a cat, and of 9, which does not count."""
    for split, name, photo, labels in scenes(4):
        save(root / "images" / split / f"{name}.jpg", photo)
        save(root / "masks" / split / f"{name}.png", np.array([0, 100, 200, 9], np.uint8)[labels])
    return ["data=folder", f"data.root={root}", f"data.classes={CLASSES}", f"data.class_map={CLASS_MAP}"]


def trained(words, run):
    assert main([*words, *TINY, f"hydra.run.dir={run}"]) == 0
    return run


def predicted(run, photos, output, *words):
    assert main(["predict", str(run), str(photos), str(output), "overlay=null", *words]) == 0
    files = sorted(output.rglob("*.png"))
    assert len(files) == 3
    return [np.asarray(Image.open(file)) for file in files]


def test_masks_hold_the_datas_values_and_labels_if_asked_for(here):
    run = trained(pets(here / "data"), here / "run")
    photos = here / "data" / "images" / "val"
    labels = predicted(run, photos, here / "labels", "values=labels")
    values = predicted(run, photos, here / "values")
    assert {0, 1} == set(np.unique(labels))  # both occur, so that the test can fail
    for label, value in zip(labels, values, strict=True):
        assert (value == np.where(label == 1, 100, 0)).all()


def iou_of_cat(text):
    return [line.split("│")[2] for line in text.splitlines() if line.startswith("│ cat")][-1]


def test_masks_are_scored_against_the_truth_by_the_same_class_map(here, capsys):
    run = trained(pets(here / "data"), here / "run")
    assert main(["eval", str(run), "data.split=val"]) == 0
    evaluated = capsys.readouterr().out
    predicted(run, here / "data" / "images" / "val", here / "masks")
    words = [f"classes={CLASSES}", f"class_map={CLASS_MAP}"]
    assert main(["score", str(here / "masks"), str(here / "data" / "masks" / "val"), *words]) == 0
    scored = capsys.readouterr().out
    evaluation, score = (iou_of_cat(text) for text in (evaluated, scored))
    assert evaluation == score
    assert 0 < float(score) < 1


def test_masks_of_colours_are_written_in_colours(here):
    run = trained(cvat_masks(here / "data"), here / "run")
    photos = here / "photos"
    photos.mkdir()
    for name in range(3):
        (here / "data" / "JPEGImages" / f"val_{name:04d}.png").rename(photos / f"{name}.png")
    masks, labels = predicted(run, photos, here / "masks"), predicted(run, photos, here / "labels", "values=labels")
    table = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
    for mask, label in zip(masks, labels, strict=True):
        assert mask.shape == (*label.shape, 3)
        assert (mask == table[label]).all()


def test_the_classes_that_are_merged_are_shown_by_training_and_evaluation_and_kept(here, capsys):
    merged = "data.class_map={car: vehicle, bicyclist: vehicle, sky: ignore}"
    run = trained([*camvid(here / "data"), merged], here / "run")
    assert main(["eval", str(run), "data.split=val"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "car, bicyclist" in line]
    assert len(shown) == 2
    assert all("vehicle" in line for line in shown)
    payload = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert ["bicyclist", "vehicle"] in payload["class_table"]
    assert ["sky", "ignore"] in payload["class_table"]
    # the car, 8, is the first of the vehicles
    assert payload["mask_values"] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert payload["class_names"][7] == "vehicle"


def test_data_whose_classes_are_its_own_shows_no_table(here, capsys):
    trained(camvid(here / "data"), here / "run")
    assert "what the classes of the data count as" not in capsys.readouterr().out


def test_a_checkpoint_of_before_writes_labels(here):
    run = trained(pets(here / "data"), here / "run")
    file = run / "checkpoints" / "best.pt"
    payload = torch.load(file, weights_only=True)
    for key in ("mask_values", "class_table"):
        del payload[key]
    torch.save(payload, file)
    masks = predicted(run, here / "data" / "images" / "val", here / "masks")
    assert set(np.unique(masks)) == {0, 1}


@pytest.mark.parametrize("word", ["values=colors", "values=null"])
def test_other_words_are_refused(here, refused, word):
    (line,) = refused("predict", "run", "photos", "masks", word)
    assert "values: expected one of original, labels, palette, colours" in line


def test_drawings_and_stacked_masks_have_no_values_of_their_own(here):
    coco(here / "coco")
    source = Coco(split="train", root=str(here / "coco"), classes=["dog"])
    assert (source.class_names, source.mask_values) == (("dog",), ())
    for split, name, photo, labels in scenes(4):
        save(here / "bits" / "images" / split / f"{name}.jpg", photo)
        save(here / "bits" / "masks" / split / f"{name}.png", labels)
    stacked = Folder(split="train", root=str(here / "bits"), classes=["a", "b"], encoding="bits")
    assert stacked.mask_values == ()
    values = Folder(split="train", root=str(here / "bits"), classes=["a", "b", "c"], class_map={2: 0, 1: 1, 0: 2, 3: 2})
    assert values.mask_values == (2, 1, 0)
