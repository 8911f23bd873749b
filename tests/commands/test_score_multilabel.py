"""`segtrain score mode=multilabel` over folders of masks of 0 and 1, one for each class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segtrain import metrics
from segtrain.cli import main
from segtrain.data.files.images import read_image
from segtrain.data.palette import colours_of
from segtrain.drawing.masks import write_labels
from segtrain.evaluation.reports import read_report
from segtrain.metrics import conventions
from segtrain.task import Multilabel

NAMES = ("car", "near road", "road")
TASK = Multilabel(NAMES)
SIZES = {"a": (40, 50), "deep/b": (31, 64), "d": (9, 9)}
KNOWN = ["ignore_index=255", "bootstrap=50"]
SCORE = ["score", "pred=masks", "truth=truth", "mode=multilabel"]


pytestmark = pytest.mark.usefixtures("here")


def random_pair(seed, size):
    """Predictions of three classes that are wrong at every fifth pixel; every tenth does not count, in each its own."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((3, *size)) < 0.4).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.2, 1 - truth, truth)
    return prediction, np.where(rng.random(truth.shape) < 0.1, 255, truth).astype(np.uint8)


@pytest.fixture
def pairs():
    found = {name: random_pair(seed, size) for seed, (name, size) in enumerate(sorted(SIZES.items()))}
    for name, (prediction, truth) in found.items():
        write_labels(prediction, NAMES, Path("masks"), name)
        write_labels(truth, NAMES, Path("truth"), name)
    return found


def score(*words):
    return main([*SCORE, *words])


def counts_of(pairs):
    maps = [[torch.from_numpy(labels)[None] for labels in pair] for pair in pairs.values()]
    return metrics.Counts.cat(metrics.count(prediction, target, TASK) for prediction, target in maps)


def test_folders_of_classes_are_told_of_their_mode(pairs, capsys):
    assert main(["score", "pred=masks", "truth=truth", "ignore_index=255", "bootstrap=0"]) == 0
    said = "has masks of the same names in car/, near road/, road/; if these are classes, set mode=multilabel"
    assert said in capsys.readouterr().out


def test_each_class_is_scored_where_its_own_truth_is_known(pairs):
    assert score("classes=[road,car]", "output=out", *KNOWN) == 0
    for name, scores in json.loads(Path("out/report.json").read_text())["scores"]["per_class"].items():
        layer = NAMES.index(name)
        said, true = (np.concatenate([pair[side][layer].ravel() for pair in pairs.values()]) for side in (0, 1))
        known = true != 255
        both, either = ((said & true) == 1) & known, ((said | true) == 1) & known
        assert scores["iou"] == pytest.approx(both.sum() / either.sum(), abs=1e-12)


def test_classes_are_the_folders_of_the_truth_unless_named(pairs):
    (Path("truth") / ".hidden").mkdir()
    assert score("output=out", *KNOWN) == 0
    report = read_report(Path("out"))
    assert report.class_names == NAMES
    assert all(map(torch.equal, report.counts.tensors(), counts_of(pairs).tensors()))


def test_smp_has_numbers_for_classes_that_overlap(pairs, capsys):
    assert score("as=smp", *KNOWN) == 0
    printed = capsys.readouterr().out
    for number in conventions.smp(counts_of(pairs)):
        assert f"{number.value:.4f}" in printed


@pytest.mark.parametrize("policy", ["absent", "ignore"])
def test_a_true_mask_without_a_file_counts_as_it_is_said(pairs, policy, refused):
    Path("truth/road/a.png").unlink()
    message = (
        "truth/road: no mask a there, expected one of each class for each image with a true one; 1 of 3 are missing"
    )
    assert message in refused(*SCORE, *KNOWN)[0]
    assert score(f"missing={policy}", "output=out", *KNOWN) == 0
    pairs["a"][1][2] = {"absent": 0, "ignore": 255}[policy]
    assert all(map(torch.equal, read_report(Path("out")).counts.tensors(), counts_of(pairs).tensors()))


def test_two_scored_folders_are_compared(pairs, capsys):
    for name, (prediction, _) in pairs.items():
        write_labels(1 - prediction, NAMES, Path("worse"), name)
    assert score("output=a", *KNOWN) == 0
    assert main(["score", "pred=worse", "truth=truth", "mode=multilabel", "output=b", *KNOWN]) == 0
    assert main(["compare", "a", "b", "bootstrap=100", "output=out"]) == 0
    assert "iou of near road" in capsys.readouterr().out
    colours = {tuple(colour) for colour in read_image(Path("out/changed.png"), channels=3).reshape(-1, 3).tolist()}
    assert colours >= set(colours_of(TASK))


def rewrite(folder, name, change):
    write_labels(change(np.ones(SIZES[name], np.uint8)), (), Path(folder), name)


MISTAKES = {
    "another tool": (lambda: None, ["as=mmseg"], "as=mmseg: has no numbers for classes that overlap; set as=segtrain"),
    "unknown class": (
        lambda: None,
        ["classes=[road,sky]"],
        "pred=masks: no folder sky/ there (found: car/, near road/, road/)",
    ),
    "a class without predictions": (
        lambda: Path("masks/road").rename("masks/raod"),
        [],
        "pred=masks: no folder road/ there (found: car/, near road/, raod/)",
    ),
    "a prediction is missing": (
        lambda: Path("masks/car/d.png").unlink(),
        [],
        "masks/car: no mask d there, expected one of each class",
    ),
    "no class": (lambda: None, ["truth=truth/road/deep"], "truth=truth/road/deep: no folders there"),
    "sizes of a prediction": (
        lambda: rewrite("masks/car", "d", lambda mask: mask[:5]),
        [],
        "masks/car/d.png: 9x5 pixels, expected 9x9 as truth/car/d.png",
    ),
    "sizes of a class": (
        lambda: [rewrite(f"{folder}/road", "d", lambda mask: mask[:5]) for folder in ("masks", "truth")],
        [],
        "masks/road/d.png: 9x5 pixels, expected 9x9 as masks/car/d.png",
    ),
    "values of predictions": (
        lambda: rewrite("masks/road", "d", lambda mask: 7 * mask),
        [],
        "masks/road/d.png: mask holds 7, expected 0..1 (absent, present); say what each stands for",
    ),
    "values of truth": (
        lambda: rewrite("truth/road", "d", lambda mask: 2 * mask),
        [],
        "truth/road/d.png: mask holds 2, expected 0..1 (absent, present)",
    ),
}


@pytest.mark.parametrize(("spoil", "words", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_are_explained(pairs, refused, spoil, words, message):
    spoil()
    assert message in "\n".join(refused(*SCORE, *KNOWN, *words))


def test_folders_of_classes_are_not_taken_for_folders_of_images(pairs, refused):
    line = refused(*SCORE, "mode=null", "classes=[road,car]", *KNOWN)[0]
    assert line.endswith(
        "truth: has folders of the classes' names, expected one mask for each image; set mode=multilabel"
    )


def test_what_is_missing_is_asked_for_classes_that_overlap_alone(pairs, refused):
    assert "missing=absent: is for mode=multilabel alone" in refused(*SCORE, "mode=null", "missing=absent", *KNOWN)[0]
