"""`segtrain score` over folders of masks, through the real command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain import metrics
from segtrain.cli import main
from segtrain.config.compose import compose
from segtrain.config.schema import ScoreConfig
from segtrain.config.spine import check_spine, to_config
from segtrain.drawing.masks import write_labels, write_overlay
from segtrain.evaluation.reports import read_report
from segtrain.metrics import conventions
from segtrain.task import Binary, Multiclass

NAMES = ["background", "cat", "dog", "bird"]
CLASSES = f"classes=[{','.join(NAMES)}]"
TASK = Multiclass(NAMES)
COLOURS = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
SCORE = ["score", "pred=masks", "truth=truth"]
SIZES = {"a": (40, 50), "deep/b": (31, 64), "deep/c": (40, 50), "d": (9, 9)}


def random_pair(seed, size, labels):
    """A prediction that is wrong at every fifth pixel, and a truth of which every tenth does not count."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, labels, (8, 8)), np.ones((8, 8), int))[: size[0], : size[1]].astype(np.uint8)
    prediction = np.where(rng.random(size) < 0.2, rng.integers(0, labels, size), truth).astype(np.uint8)
    return prediction, np.where(rng.random(size) < 0.1, 255, truth).astype(np.uint8)


def write_masks(pairs, *, values=lambda labels: labels):
    for name, (prediction, truth) in pairs.items():
        write_labels(values(prediction), (), Path("masks"), name)
        write_labels(values(truth), (), Path("truth"), name)


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def pairs():
    """Masks as `segtrain predict` writes them, of three classes out of four, and the truth."""
    found = {name: random_pair(seed, size, 3) for seed, (name, size) in enumerate(SIZES.items())}
    write_masks(found)
    return found


@pytest.fixture
def binary_pairs():
    found = {name: random_pair(seed, size, 2) for seed, (name, size) in enumerate(SIZES.items())}
    write_masks(found)
    return found


def score(*words):
    return main([*SCORE, *words])


def counts_of(pairs, task=TASK):
    maps = [[torch.from_numpy(labels)[None] for labels in pairs[name]] for name in sorted(pairs)]
    return metrics.Counts.cat(metrics.count(prediction, target, task) for prediction, target in maps)


def matrix_of(pairs, task=TASK):
    maps = [[torch.from_numpy(labels)[None] for labels in pair] for pair in pairs.values()]
    return sum(metrics.confusion(prediction, target, task).sum((0, 1)) for prediction, target in maps)


def same(counts, others):
    return all(torch.equal(one, other) for one, other in zip(counts.tensors(), others.tensors(), strict=True))


def table(text):
    """The rows of the last table that was printed: number, cells."""
    last = text.rpartition("as=")[2]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in last.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


def test_masks_of_predict_score_exactly_as_their_labels(pairs):
    assert score(CLASSES, "ignore_index=255", "output=out", "bootstrap=0") == 0
    report, counts = read_report(Path("out")), counts_of(pairs)
    assert report.ids == tuple(sorted(SIZES))
    assert same(report.counts, counts)
    assert report.scores == {**metrics.scores(counts, NAMES), "at": "original"}
    assert report.scores["absent"] == ["bird"]


def test_the_report_says_where_the_masks_were(pairs):
    assert score(CLASSES, "ignore_index=255", "output=out", "bootstrap=0") == 0
    report = read_report(Path("out"))
    where = {"pred": str(Path("masks").resolve()), "truth": str(Path("truth").resolve())}
    values = {"truth_map": {"0": 0, "1": 1, "2": 2, "3": 3, "255": 255}, "pred_map": {str(n): n for n in range(4)}}
    assert report.about == {
        "command": "score",
        "as": "segtrain",
        "at": "original",
        "missing": "error",
        **where,
        **values,
    }
    rows = [line.split(",")[1:] for line in Path("out/confusion.csv").read_text().splitlines()[1:]]
    assert [[int(cell) for cell in row] for row in rows] == matrix_of(pairs).tolist()


def test_nothing_is_written_unless_asked_for(pairs):
    before = sorted(Path().rglob("*"))
    assert score(CLASSES, "ignore_index=255", "bootstrap=0") == 0
    assert sorted(Path().rglob("*")) == before


def test_intervals_are_those_of_the_bootstrap(pairs, capsys):
    assert score(CLASSES, "ignore_index=255", "output=out", "bootstrap=50", "confidence=0.8") == 0
    expected = metrics.score_intervals(counts_of(pairs), NAMES, replicates=50, confidence=0.8)
    found = read_report(Path("out")).scores["intervals"]
    assert found == {"confidence": 0.8, "replicates": 50, **expected}
    low, high = expected["iou"]
    assert table(capsys.readouterr().out)["iou"][1] == f"{low:.4f} to {high:.4f}"


@pytest.mark.parametrize("tool", ["segtrain", "smp", "mmseg", "torchvision"])
def test_each_tool_prints_its_numbers_with_their_definitions(tool, pairs, capsys):
    assert score(CLASSES, "ignore_index=255", f"as={tool}", "bootstrap=0") == 0
    counts, matrix = counts_of(pairs), matrix_of(pairs)
    numbers = {
        "segtrain": conventions.segtrain(metrics.scores(counts, NAMES)),
        "smp": conventions.smp(counts),
        "mmseg": conventions.mmseg(matrix),
        "torchvision": conventions.torchvision(matrix, NAMES),
    }[tool]
    expected = {number.name: [f"{number.value:.{number.digits}f}", number.definition] for number in numbers}
    assert table(capsys.readouterr().out) == expected


def test_numbers_of_another_tool_stand_in_the_report_beside_our_scores(pairs):
    assert score(CLASSES, "ignore_index=255", "as=torchvision", "output=out", "bootstrap=0") == 0
    report = read_report(Path("out"))
    assert report.about["numbers"]["IoU: bird"] is None
    assert report.about["numbers"]["IoU: cat"] == pytest.approx(report.scores["per_class"]["cat"]["iou"] * 100, abs=0.1)
    assert report.scores["iou"] == metrics.scores(counts_of(pairs), NAMES)["iou"]


def test_one_class_is_scored_against_the_rest(binary_pairs):
    assert score("classes=[cat]", "ignore_index=255", "output=out", "bootstrap=0") == 0
    report = read_report(Path("out"))
    assert (report.mode, report.class_names) == ("binary", ("cat",))
    assert same(report.counts, counts_of(binary_pairs, Binary(["cat"])))


def test_a_binary_task_has_a_background_for_tools_that_count_it(binary_pairs, capsys):
    assert score("classes=[cat]", "ignore_index=255", "as=torchvision") == 0
    assert {"IoU: background", "IoU: cat"} <= table(capsys.readouterr().out).keys()


def test_a_class_map_translates_both_folders(binary_pairs):
    write_masks(binary_pairs, values=lambda labels: np.where(labels == 1, 200, np.where(labels == 255, 7, labels)))
    assert score("classes=[cat]", "class_map={0: 0, 200: 1}", "ignore_index=[7,9]", "output=out", "bootstrap=0") == 0
    assert same(read_report(Path("out")).counts, counts_of(binary_pairs, Binary(["cat"])))


def test_predictions_can_have_a_map_of_their_own(binary_pairs):
    for name, (prediction, _) in binary_pairs.items():
        write_labels(prediction * np.uint8(255), (), Path("masks"), name)
    words = ["classes=[cat]", "ignore_index=255", "pred_map={0: 0, 255: 1}", "output=out", "bootstrap=0"]
    assert score(*words) == 0
    assert same(read_report(Path("out")).counts, counts_of(binary_pairs, Binary(["cat"])))


def test_classes_that_are_not_named_are_the_values_of_the_truth(pairs, capsys):
    assert score("ignore_index=255", "output=out", "bootstrap=0") == 0
    report = read_report(Path("out"))
    assert report.class_names == ("0", "1", "2")
    assert same(report.counts, counts_of(pairs, Multiclass(["0", "1", "2"])))
    printed = capsys.readouterr().out
    assert "classes: not given, so they are the values in the truth: 0, 1, 2;" in printed
    assert "0, often the background, is one of the classes that means are over" in printed
    lines = [line.strip() for line in printed.splitlines()]
    assert lines[lines.index("masks, truth truth") + 1] == f"{len(pairs)} masks"  # no path is broken within a title


def test_the_line_that_leaves_the_background_out_works(binary_pairs, capsys):
    assert score("ignore_index=255", "bootstrap=0") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "often the background" in line)
    assert line.endswith("to leave it out: 'classes=[name]' 'class_map={0: 0, 1: 1}' scores 1 alone")
    assert score("classes=[name]", "class_map={0: 0, 1: 1}", "ignore_index=255", "output=out", "bootstrap=0") == 0
    assert same(read_report(Path("out")).counts, counts_of(binary_pairs, Binary(["name"])))


def test_values_with_gaps_keep_their_numbers_as_names(pairs):
    write_masks(pairs, values=lambda labels: np.where(labels == 255, 255, labels * np.uint8(7)))
    assert score("ignore_index=255", "output=out", "bootstrap=0") == 0
    report = read_report(Path("out"))
    assert report.class_names == ("0", "7", "14")
    assert same(report.counts, counts_of(pairs, Multiclass(["0", "1", "2"])))


def test_classes_that_are_not_named_are_the_labels_of_the_class_map(pairs):
    assert score("class_map={0: 0, 1: 1, 2: 1, 255: 255}", "output=out", "bootstrap=0") == 0
    assert read_report(Path("out")).class_names == ("0", "1")


def test_what_is_predicted_at_ignored_pixels_does_not_matter(pairs):
    for name, (prediction, truth) in pairs.items():
        write_labels(np.where(truth == 255, 99, prediction).astype(np.uint8), (), Path("masks"), name)
    assert score(CLASSES, "ignore_index=255", "output=out", "bootstrap=0") == 0
    assert same(read_report(Path("out")).counts, counts_of(pairs))


def test_the_folders_need_no_keys(pairs):
    assert main(["score", "masks", "truth", CLASSES, "ignore_index=255", "bootstrap=0", "output=out"]) == 0
    assert read_report(Path("out")).about["pred"] == str(Path("masks").resolve())
    assert main(["score", "masks", CLASSES]) == 2


def test_masks_saved_as_jpeg_are_told_to_be_png_whatever_they_hold(pairs, capsys):
    stray = np.where(np.arange(40)[:, None] < 3, 7, np.zeros((40, 50))).astype(np.uint8)
    Path("truth/a.png").unlink()
    Image.fromarray(stray).save("truth/a.jpg", quality=95)
    assert score(CLASSES, "ignore_index=255") == 2
    assert "was it saved as JPEG, or resized with interpolation? Save it as PNG" in capsys.readouterr().err


def write_indexed(folder, name, colours):
    """A mask with 0 in its left half and 1 in its right, and a palette."""
    Path(folder).mkdir(exist_ok=True)
    image = Image.fromarray(np.repeat(np.uint8([[0, 0, 1, 1]]), 4, axis=0), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(Path(folder) / name)


@pytest.mark.parametrize(("folder", "key"), [("truth", "class_map"), ("pred", "pred_map")])
def test_palettes_that_give_a_value_different_colours_are_refused(folder, key, capsys):
    one, other = [(0, 0, 0), (128, 0, 0)], [(0, 0, 0), (0, 128, 0)]
    for each in ("truth", "pred"):
        write_indexed(each, "a.png", one)
        write_indexed(each, "b.png", other if each == folder else one)
    assert main(["score", "pred", "truth", "classes=[thing]"]) == 2
    error = capsys.readouterr().err
    assert f"{folder}/b.png: 1 is the colour 0-128-0 in its palette, 128-0-0 in that of a.png" in error
    assert f"'{key}={{" in error
    assert "data." not in error


def test_palettes_may_differ_between_truth_and_predictions(capsys):
    for folder, colour in (("truth", (128, 0, 0)), ("pred", (0, 0, 255))):
        write_indexed(folder, "a.png", [(0, 0, 0), colour])
        write_indexed(folder, "b.png", [(0, 0, 0), colour])
    assert main(["score", "pred", "truth", "classes=[thing]"]) == 0
    assert "1.0000" in capsys.readouterr().out


def test_files_pair_whatever_their_suffix(pairs):
    for file in Path("truth").rglob("*.png"):
        Image.open(file).save(file.with_suffix(".tif"))
        file.unlink()
    assert score(CLASSES, "ignore_index=255", "bootstrap=0") == 0


def test_overlays_beside_the_masks_are_passed_over(pairs, capsys):
    for name, (prediction, _) in pairs.items():
        image = np.zeros((*prediction.shape, 3), np.uint8)
        write_overlay(image, prediction, COLOURS, Path("masks/overlays") / f"{name}.jpg", alpha=0.5)
    assert score(CLASSES, "ignore_index=255", "bootstrap=0") == 0
    assert "have no truth" not in capsys.readouterr().out


def test_predictions_without_a_truth_are_told_of(pairs, capsys):
    for name in ("e", "f"):
        write_labels(np.zeros((9, 9), np.uint8), (), Path("masks"), name)
    assert score(CLASSES, "ignore_index=255", "output=out", "bootstrap=0") == 0
    assert "masks: masks of 2 images have no truth, and do not count" in capsys.readouterr().out
    assert read_report(Path("out")).ids == tuple(sorted(SIZES))


def test_contours_are_measured_on_demand(pairs, capsys):
    assert score(CLASSES, "ignore_index=255", "boundary=true", "surface=true", "bootstrap=0") == 0
    maps = [[torch.from_numpy(labels)[None] for labels in pairs[name]] for name in sorted(pairs)]
    boundary = metrics.Counts.cat(metrics.count_boundary(*pair, TASK) for pair in maps)
    distances = torch.cat([metrics.surface_distances(*pair, TASK).hausdorff for pair in maps])
    found = table(capsys.readouterr().out)
    assert found["boundary_iou"][0] == f"{metrics.macro(boundary, metrics.iou):.4f}"
    assert found["surface_hausdorff"][0] == f"{distances.nanmean(0).nanmean():.4f}"


def test_absent_classes_count_as_they_are_told_to(pairs):
    assert score(CLASSES, "ignore_index=255", "absent=zero", "output=out", "bootstrap=0") == 0
    assert read_report(Path("out")).scores["iou"] == metrics.scores(counts_of(pairs), NAMES, absent="zero")["iou"]


def test_a_policy_that_another_tool_has_no_room_for_is_told_of(pairs, capsys):
    assert score(CLASSES, "ignore_index=255", "absent=zero", "as=mmseg") == 0
    assert "absent=zero is for as=segtrain; mmseg has a rule of its own" in capsys.readouterr().out


def test_truth_of_which_nothing_counts_has_no_scores(pairs):
    assert score(CLASSES, "ignore_index=[0,1,2,255]", "output=out", "bootstrap=10") == 0
    assert read_report(Path("out")).scores["iou"] is None


def test_torch_keeps_its_number_of_threads(pairs, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    assert score(CLASSES, "ignore_index=255", "bootstrap=0") == 0
    found = torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == 3


def remove(name):
    (Path(name)).unlink()


def paint(name, pixels):
    Image.fromarray(np.array(pixels, np.uint8)).save(name)


def replace_all(folder, old, new):
    for file in Path(folder).rglob("*.png"):
        mask = np.asarray(Image.open(file))
        paint(file, np.where(mask == old, new, mask))


def empty(folder):
    for file in Path(folder).rglob("*.png"):
        file.unlink()


def rename_all():
    for file in Path("masks").rglob("*.png"):
        file.rename(file.with_stem(f"{file.stem}_pred"))


KNOWN = [CLASSES, "ignore_index=255"]
MISTAKES = {
    "no folder": (lambda: None, ["pred=nope"], "pred=nope: no such folder", "correct pred=..."),
    "no masks": (lambda: empty("truth"), KNOWN, "truth=truth: holds no masks", "correct truth=..."),
    "missing": (lambda: remove("masks/a.png"), KNOWN, "truth/a.png: no prediction of that name in masks", "1 of 4"),
    "other names": (rename_all, KNOWN, "in masks (there: a_pred.png, ", "4 of 4 have none: add them, or give truth="),
    "other size": (
        lambda: paint("masks/a.png", np.zeros((50, 40))),
        KNOWN,
        "masks/a.png: 40x50 pixels, expected 50x40 as truth/a.png",
        "predict at the size of the image",
    ),
    "colours": (
        lambda: paint("masks/a.png", np.full((40, 50, 3), (0, 90, 7))),
        KNOWN,
        "masks/a.png: the mask holds colours",
        "8-bit",
    ),
    "damaged": (
        lambda: Path("truth/d.png").write_bytes(b"no"),
        KNOWN,
        "truth/d.png: not an image",
        "restore or remove",
    ),
    "undeclared 255": (
        lambda: None,
        [CLASSES],
        "truth/a.png: mask holds 0, 1, 2 and 255, expected 0..3 (background, cat, dog, bird)",
        "add ignore_index=255 (4 masks hold such values)",
    ),
    "0 and 255": (
        lambda: [replace_all("truth", 1, 0), replace_all("truth", 2, 0)],
        ["classes=[cat]"],
        "truth/a.png: mask holds 0 and 255, expected 0..1 (background, cat)",
        "add 'class_map={0: 0, 255: 1}'",
    ),
    "strange truth": (
        lambda: replace_all("truth", 2, 9),
        KNOWN,
        "expected 0..3",
        "or ignore) in 'class_map={0: 0, 1: ?, 9: ?}'",
    ),
    "strange prediction": (
        lambda: replace_all("masks", 2, 9),
        KNOWN,
        "masks/a.png: mask holds 0, 1 and 9, expected 0..3",
        "a label in place of ?: 'pred_map={0: 0, 1: 1, 9: ?}' (4 masks hold such values)",
    ),
    "prediction of other values": (
        lambda: replace_all("masks", 2, 9),
        ["classes=[background,cat,dog]", "ignore_index=255"],
        "masks/a.png: mask holds 0, 1 and 9, expected 0..2",
        "add 'pred_map={0: 0, 1: 1, 9: 2}'",
    ),
    "prediction of a class without truth": (
        lambda: replace_all("truth", 2, 0),
        ["ignore_index=255"],
        "masks/a.png: mask holds 0, 1 and 2, expected 0 (0), 1 (1)",
        "name each value in classes",
    ),
    "one value": (
        lambda: [replace_all("truth", value, 0) for value in (1, 2)],
        ["ignore_index=255"],
        "truth=truth: the masks hold 1 values, expected 2 to 254",
        "name them with classes=[...]",
    ),
    "no names": (lambda: None, ["classes=[]"], "classes: no names", "'classes=[background,cat,dog]'"),
    "a name twice": (lambda: None, ["classes=[a,b,a]"], "classes: a more than once", "rename one"),
    "label out of range": (
        lambda: None,
        [CLASSES, "class_map={0: 9}"],
        "class_map: 0 -> 9, expected labels 0..3",
        "0..3",
    ),
    "predicted label out of range": (lambda: None, [CLASSES, "pred_map={0: 9}"], "pred_map: 0 -> 9, expected", "0..3"),
    "ignored value": (
        lambda: None,
        [CLASSES, "ignore_index=-1"],
        "ignore_index: [-1], expected",
        "mask values 0..65535",
    ),
    "label of a misspelt name": (
        lambda: None,
        [CLASSES, "class_map={0: birt}"],
        "class_map: 0 -> birt: no class of that name, did you mean 'bird'?",
        "bird",
    ),
    "label of a name without names": (
        lambda: None,
        ["class_map={0: background, other: ignore}"],
        "class_map: background is no number, expected classes=[...] to name it",
        "add classes",
    ),
    "map of names": (lambda: None, [CLASSES, "class_map={a: 0}"], "class_map: a, expected values 0..65535", "other"),
    "tool": (lambda: None, [*KNOWN, "as=mmsegg"], "as: expected one of segtrain, smp, mmseg", "did you mean 'mmseg'?"),
    "policy": (
        lambda: None,
        [*KNOWN, "absent=ones"],
        "absent: expected one of exclude, one, zero",
        "did you mean 'one'?",
    ),
    "key": (lambda: None, [*KNOWN, "ignore_indx=255"], "ignore_indx: unknown key", "did you mean 'ignore_index'?"),
    "output": (
        lambda: Path("other").touch(),
        [*KNOWN, "output=other"],
        "output=other: cannot be written",
        "another output=",
    ),
    "output among the masks": (
        lambda: None,
        [*KNOWN, "output=truth/scores"],
        "output=truth/scores: is among the masks of truth",
        "choose another",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained_in_one_line(mistake, pairs, refused):
    spoil, words, where_and_what, remedy = MISTAKES[mistake]
    spoil()
    (line,) = refused(*SCORE, *words)
    assert where_and_what in line
    assert remedy in line


def test_all_files_that_cannot_be_used_are_named_at_once(pairs, refused):
    paint("masks/a.png", np.zeros((4, 4)))
    remove("truth/d.png")
    Path("truth/d.png").write_bytes(b"no")
    replace_all("masks/deep", 2, 9)
    assert [line.split(":")[1].strip() for line in refused(*SCORE, *KNOWN)] == [
        "masks/a.png",
        "truth/d.png",
        "masks/deep/b.png",
    ]


def test_the_primary_config_holds_exactly_the_keys_of_its_schema():
    job = compose("score", ["pred=a", "truth=b", "as=smp"]).job
    assert check_spine(job, ScoreConfig) == []
    assert to_config(job, ScoreConfig).as_ == "smp"


def test_the_config_is_shown_with_the_key_as_it_is_typed(capsys):
    assert main(["score", "pred=a", "truth=b", "as=smp", "--cfg", "job"]) == 0
    assert re.search(r"^as: smp$", capsys.readouterr().out, re.MULTILINE)


def test_reports_are_strict_json(pairs):
    assert score(CLASSES, "ignore_index=255", "as=torchvision", "output=out") == 0
    json.loads(Path("out/report.json").read_text(), parse_constant=pytest.fail)


def test_colours_and_words_are_mapped_in_files_that_are_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    colours = np.array([(0, 0, 0), (0, 128, 0)], np.uint8)
    labels = np.resize(np.array([0, 1], np.uint8), (40, 50))
    for folder, pixels in (("coloured", colours[labels]), ("predicted", np.where(labels == 1, 9, 200))):
        Path(folder).mkdir()
        paint(f"{folder}/a.png", pixels)
    words = "score predicted coloured classes=[background,cat]"
    assert main([*words.split(), "class_map={0-0-0: 0, 0-128-0: 1}", "pred_map={9: 1, other: 0}"]) == 0
    assert "iou 1.0000" in capsys.readouterr().out
