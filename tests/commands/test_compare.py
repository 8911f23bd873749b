"""`segtrain compare`: on reports made by hand, on score folders with their masks, and on two runs."""

import csv
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain import metrics
from segtrain.cli import main
from segtrain.evaluation.differences import changes, differences, verdict
from segtrain.evaluation.reports import Report, read_report, write_report
from segtrain.metrics import Counts, count
from segtrain.task import make_task
from tests.conftest import TINY
from tests.metrics.cases import counts_of

NAMES = ("cat", "dog")
LEGEND = 14 + 4  # pixels of the line that names the colours


pytestmark = pytest.mark.usefixtures("here")


def rows_of(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def found_pixels(gain, *, images=30, seed=0):
    """Counts in which both classes have 500 of 1000 pixels, of which ``gain`` more are found than by chance."""
    rng = np.random.default_rng(seed)
    tp = torch.from_numpy(np.clip(rng.integers(150, 350, (images, 2)) + gain, 0, 500))
    rest = torch.full_like(tp, 500)
    return counts_of(tp, torch.zeros_like(tp), rest - tp, rest)


def write(folder, counts, *, ids=None, names=NAMES, mode="multiclass", absent="exclude", about=None):
    folder.mkdir(parents=True)
    ids = ids or tuple(f"img{number:02d}" for number in range(len(counts.tp)))
    scores = metrics.scores(counts, names, absent=absent)
    write_report(folder, Report(mode, names, ids, counts, scores, {"at": "original", **(about or {})}))
    return folder


@pytest.fixture
def better(tmp_path):
    """Reports a and b, where b finds 60 more pixels in every image."""
    write(tmp_path / "a", found_pixels(0), about={"pred": "gone", "truth": "gone"})
    write(tmp_path / "b", found_pixels(60), about={"pred": "gone", "truth": "gone"})


def compare(words, capsys):
    assert main(["compare", *shlex.split(words)]) == 0
    return capsys.readouterr().out


def refused(words, capsys):
    capsys.readouterr()
    assert main(["compare", *shlex.split(words)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_the_verdict_names_the_better_one(better, capsys):
    assert "\nB is better: iou " in compare("a b pictures=0", capsys)
    assert "\nA is better: iou " in compare("b a pictures=0", capsys)


def test_a_model_is_not_better_than_itself(better, tmp_path, capsys):
    text = compare("a a", capsys)
    assert "Both found the same in all 30 images, so that nothing differs: iou 0." in text
    assert "+0.0000" not in text
    assert not list(tmp_path.rglob("changed.png"))


def test_one_image_alone_never_decides(tmp_path, capsys):
    write(tmp_path / "a", found_pixels(0, images=1))
    write(tmp_path / "b", found_pixels(60, images=1))
    text = compare("a b pictures=0", capsys)
    assert "The data cannot tell which is better" in text
    assert "few images (1)" in text


def test_the_table_marks_what_the_interval_sets_apart_from_zero(tmp_path, capsys):
    a, b = found_pixels(0), found_pixels(0)
    b.tp[:, 0] += 40
    b.fn[:, 0] -= 40
    write(tmp_path / "a", a)
    write(tmp_path / "b", b)
    lines = {line.split("│")[1].strip(): line for line in compare("a b pictures=0", capsys).splitlines() if "│" in line}
    assert list(lines)[:9] == [*metrics.HEADLINES, "iou of cat", "iou of dog"]
    assert "+0.0800 *" in lines["iou of cat"]
    assert "*" not in lines["iou of dog"]
    assert lines["iou of dog"].split("│")[-2].strip() == "1.000"


def test_p_is_never_shown_as_zero(better, capsys):
    assert "0.002" in compare("a b pictures=0", capsys)
    text = compare("a b bootstrap=5000 pictures=0", capsys)
    assert "<0.001" in text
    assert " 0.000 " not in text


def test_the_numbers_are_those_of_the_paired_bootstrap(better, tmp_path, capsys):
    compare("a b output=out bootstrap=200 confidence=0.9 seed=5 pictures=0", capsys)
    rows = {(row["metric"], row["class"]): row for row in rows_of(tmp_path / "out" / "comparison.csv")}
    expected = metrics.paired_differences(
        found_pixels(0), found_pixels(60), NAMES, replicates=200, confidence=0.9, seed=5
    )
    assert len(rows) == len(metrics.HEADLINES) + len(NAMES) * len(metrics.PER_CLASS)
    for (metric, name), row in rows.items():
        entry = expected["per_class"][name][metric] if name else expected[metric]
        numbers = [float(row[key]) for key in ("a", "b", "difference", "low", "high", "p")]
        wanted = [entry["a"], entry["b"], entry["difference"], *entry["interval"], entry["p"]]
        assert numbers == pytest.approx(wanted, abs=1e-6)


def test_every_image_is_listed_the_one_that_changed_most_first(tmp_path, capsys):
    a, b = found_pixels(0), found_pixels(0)
    b.tp[7] -= 100
    b.fn[7] += 100
    b.tp[3] += 50
    b.fn[3] -= 50
    write(tmp_path / "a", a)
    write(tmp_path / "b", b)
    text = compare("a b output=out pictures=0", capsys)
    rows = rows_of(tmp_path / "out" / "images.csv")
    assert len(rows) == 30
    assert [(row["id"], float(row["difference"])) for row in rows[:2]] == [("img07", -0.2), ("img03", 0.1)]
    assert text.index("img07") < text.index("img03")


def test_an_image_without_a_score_comes_last_with_empty_cells(tmp_path, capsys):
    nothing = Counts.cat([counts_of([[0, 0]], [[0, 0]], [[0, 0]], [[9, 9]]), found_pixels(0, images=2)])
    write(tmp_path / "a", nothing)
    write(tmp_path / "b", nothing)
    compare("a b output=out pictures=0", capsys)
    assert rows_of(tmp_path / "out" / "images.csv")[-1] == {"id": "img00", "a": "", "b": "", "difference": ""}


def test_images_are_matched_by_their_ids(tmp_path, capsys):
    counts, ids = found_pixels(0), tuple(f"img{number:02d}" for number in range(30))
    write(tmp_path / "a", counts)
    write(tmp_path / "b", counts.map(lambda column: column.flip(0)), ids=ids[::-1])
    compare("a b output=out pictures=0", capsys)
    assert {float(row["difference"]) for row in rows_of(tmp_path / "out" / "images.csv")} == {0}


def test_a_class_that_is_nowhere_is_said_to_be_absent(tmp_path, capsys):
    for name, gain in (("a", 0), ("b", 60)):
        counts = found_pixels(gain)
        for column in (counts.tp, counts.fp, counts.fn):
            column[:, 1] = 0
        write(tmp_path / name, counts)
    line = next(line for line in compare("a b pictures=0", capsys).splitlines() if "iou of dog" in line)
    assert line.count("absent") == 2


def test_reports_without_any_class_say_so():
    empty = counts_of([[0, 0]], [[0, 0]], [[0, 0]], [[9, 9]])
    report = Report("multiclass", NAMES, ("x",), empty, metrics.scores(empty, NAMES), {})
    rows = differences(report, report, replicates=5, confidence=0.95, seed=0)
    assert "nothing to compare" in verdict(rows, images=1, confidence=0.95)
    assert changes(report, report)[0].difference is None


def test_the_absent_policy_of_the_reports_is_used(tmp_path, capsys):
    counts = Counts.cat([counts_of([[0, 0]], [[0, 0]], [[0, 0]], [[9, 9]]), found_pixels(0, images=2)])
    write(tmp_path / "a", counts, absent="one")
    write(tmp_path / "b", counts, absent="one")
    compare("a b output=out pictures=0", capsys)
    assert {row["id"]: row["a"] for row in rows_of(tmp_path / "out" / "images.csv")}["img00"] == "1.0"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"mode": "multilabel"}, "is multilabel, expected multiclass"),
        ({"names": ("cat", "owl")}, "has the classes cat, owl, expected cat, dog"),
        (
            {"about": {"at": "input"}},
            "was scored with at=input, the other with original; score it again: segtrain eval ... eval.at=original",
        ),
        (
            {"absent": "one", "about": {"command": "score"}},
            "was scored with absent=one, the other with exclude; score it again: segtrain score ... absent=exclude",
        ),
        ({"ids": ("img00", "img01", "x")}, "holds 3 images, the other 3: 2 are in one alone, first img02"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(other, said, tmp_path, capsys):
    write(tmp_path / "a", found_pixels(0, images=3))
    write(tmp_path / "b", found_pixels(0, images=3), **other)
    line = refused("a b", capsys)
    assert line.startswith(f"segtrain: b: {said}")
    assert line.endswith("(a)")
    assert not (tmp_path / "compare").exists()


def test_another_truth_is_refused(tmp_path, capsys):
    counts = found_pixels(0, images=3)
    write(tmp_path / "a", counts)
    counts.fn[1, 1] += 7
    write(tmp_path / "b", counts)
    line = refused("a b", capsys)
    assert "another truth: dog has 507 of 1007 pixels of image img01, in the other 500 of 1000" in line


@pytest.mark.parametrize("words", ["a", "a b c", "a b b=c"])
def test_anything_but_two_is_refused(words, capsys):
    assert "write segtrain compare outputs" in refused(words, capsys)


def test_nothing_to_compare_is_refused(capsys):
    assert main(["compare"]) == 2
    assert "a: missing; add a=..." in capsys.readouterr().err


def test_a_missing_folder_is_refused(better, capsys):
    assert "nowhere: no such folder" in refused("a nowhere", capsys)


def test_a_run_that_was_not_scored_is_told_the_command(better, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert "segtrain eval run data.split=val" in refused("a run split=val", capsys)


def test_runs_are_compared_on_a_split_that_both_hold(better, tmp_path, capsys):
    for run, splits in (("one", ("test", "val")), ("other", ("val",))):
        for split in splits:
            write(tmp_path / run / "eval" / split, found_pixels(0))
    assert "A: one/eval/val" in compare("one other pictures=0", capsys)


def test_runs_without_a_split_in_common_are_told_the_command(better, tmp_path, capsys):
    for run, split in (("one", "test"), ("other", "val")):
        write(tmp_path / run / "eval" / split, found_pixels(0))
    line = refused("one other", capsys)
    assert "other: holds no scores of test yet (only of val); run: segtrain eval other data.split=test" in line


def test_an_unknown_key_is_refused_before_anything_is_read(capsys):
    assert "picture: unknown key" in refused("a b picture=3", capsys)


def test_a_report_is_not_overwritten(better, tmp_path, capsys):
    before = (tmp_path / "a" / "images.csv").read_bytes()
    assert "output=a: holds the scores of a model" in refused("a b output=a", capsys)
    assert (tmp_path / "a" / "images.csv").read_bytes() == before


def test_the_folder_is_named_after_both(tmp_path, capsys):
    for name in ("unet", "fpn"):
        write(tmp_path / "outputs" / name / "today", found_pixels(0))
    compare("outputs/unet/today b=outputs/fpn/today pictures=0", capsys)
    written = {path.name for path in (tmp_path / "compare" / "unet-today_fpn-today").iterdir()}
    assert written == {"comparison.csv", "images.csv", "comparison.json"}


def test_two_splits_of_the_same_runs_have_a_folder_each(tmp_path, capsys):
    for run in ("a", "b"):
        for split in ("test", "val"):
            write(tmp_path / "outputs" / run / "eval" / split, found_pixels(0), about={"split": split})
    for split in ("test", "val"):
        assert f"\n{split}, 30 images, each at its own size (at=original)\n" in compare(
            f"outputs/a outputs/b split={split} pictures=0", capsys
        )
    written = {path.name for path in (tmp_path / "compare").iterdir()}
    assert written == {"outputs-a_outputs-b-test", "outputs-a_outputs-b-val"}
    held = json.loads((tmp_path / "compare" / "outputs-a_outputs-b-val" / "comparison.json").read_text())
    assert (held["at"], held["scored"][:13]) == ("original", "val, 30 image")
    assert "outputs-a_outputs-b-test: the comparison of " in compare("outputs/a outputs/b pictures=0", capsys)


def test_runs_that_are_called_alike_do_not_overwrite_each_others_comparison(tmp_path, capsys):
    for place in ("mine", "yours"):
        for run in ("a", "b"):
            write(tmp_path / place / "unet" / run, found_pixels(0))
        assert "replaced" not in compare(f"{place}/unet/a {place}/unet/b pictures=0", capsys)
    assert {path.name for path in (tmp_path / "compare").iterdir()} == {"unet-a_unet-b", "unet-a_unet-b-2"}


def test_a_folder_of_a_sweep_is_answered_with_its_runs(better, tmp_path, capsys):
    for job in ("1", "10", "2"):
        (tmp_path / "sweep" / job / "checkpoints").mkdir(parents=True)
    line = refused("sweep a", capsys)
    assert line == "segtrain: sweep: is no run but holds 3 (1, 2, 10); give one, such as sweep/1"


@pytest.mark.parametrize("coarse", ["a", "b"])
def test_the_one_scored_at_another_size_is_told_its_command(tmp_path, capsys, coarse):
    for run in ("a", "b"):
        ckpt = tmp_path / run / "checkpoints" / "best.pt"
        about = {"at": "input" if run == coarse else "original", "ckpt": str(ckpt), "split": "val", "command": "eval"}
        write(tmp_path / run / "eval" / "val", found_pixels(0, images=2 if run == "a" else 3), about=about)
    line = refused("a b", capsys)
    name = "the other" if coarse == "a" else "it"
    assert f"score {name} again: segtrain eval {coarse} data.split=val eval.at=original; and it holds 3 images" in line


def test_few_images_are_not_said_to_decide(tmp_path, capsys):
    write(tmp_path / "a", found_pixels(0, images=19))
    write(tmp_path / "b", found_pixels(60, images=19))
    text = compare("a b pictures=0", capsys)
    assert "B has the higher iou on these images, too few to say that it is better: iou " in text
    assert "B is better" not in text


def test_words_may_hold_quotes_and_equals_signs(tmp_path, capsys):
    write(tmp_path / "it's [1]", found_pixels(0))
    write(tmp_path / "lr=1", found_pixels(0))
    assert "B: lr=1" in compare('"it\'s [1]" lr=1 pictures=0', capsys)


def test_without_its_masks_the_tables_stand_and_a_warning_says_so(better, tmp_path, capsys):
    text = compare("a b output=out", capsys)
    assert "no pictures: gone: no masks there and in gone as they were scored" in text
    assert (tmp_path / "out" / "comparison.csv").exists()
    assert not (tmp_path / "out" / "changed.png").exists()


def save_masks(folder, masks):
    for name, mask in masks.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save((folder / name).with_suffix(".png"))


def test_score_folders_are_drawn_from_their_mask_files(tmp_path, capsys):
    task = make_task("multiclass", NAMES)
    truth = {"day/x": np.ones((30, 60), np.uint8), "y": np.zeros((30, 60), np.uint8)}
    masks = {"truth": truth, "a": truth, "b": {**truth, "day/x": np.zeros((30, 60), np.uint8)}}
    for key, held in masks.items():
        save_masks(tmp_path / "masks" / key, {name: mask * 255 for name, mask in held.items()})
    for key in ("a", "b"):
        maps = [torch.from_numpy(np.stack(list(held.values()))) for held in (masks[key], truth)]
        paths = {"pred": str(tmp_path / "masks" / key), "truth": str(tmp_path / "masks" / "truth")}
        values = {"truth_map": {"0": 0, "255": 1}, "pred_map": {"0": 0, "255": 1}}
        write(tmp_path / key, count(*maps, task), ids=tuple(truth), about={**paths, **values})
    compare("a b output=out", capsys)
    picture = np.asarray(Image.open(tmp_path / "out" / "changed.png"))
    assert picture.shape == (LEGEND + 14 + 240 + 4, 3 * (480 + 4), 3)
    drawn = [tuple(picture[LEGEND + 100, 200 + column * 484]) for column in range(3)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in (("a", 1), ("b", 8)):
        words = [*TINY, "data.num_workers=0", f"trainer.max_steps={steps}", f"hydra.run.dir={folder / name}"]
        assert main(words) == 0
        assert main(["eval", f"ckpt={folder / name}", "data.split=test", "data.num_workers=0"]) == 0
    return folder


def test_two_runs_are_compared_with_pictures(runs, tmp_path, capsys):
    text = compare(f"{runs}/a {runs}/b output=out pictures=3", capsys)
    assert f"A: {runs}/a/eval/test" in text
    scored = [json.loads((runs / name / "scores.json").read_text())["test"]["iou"] for name in ("a", "b")]
    row = rows_of(tmp_path / "out" / "comparison.csv")[0]
    assert [float(row["a"]), float(row["b"])] == pytest.approx(scored, abs=1e-6)
    changed = [row for row in rows_of(tmp_path / "out" / "images.csv") if float(row["difference"])]
    assert len(changed) >= 3
    picture = np.asarray(Image.open(tmp_path / "out" / "changed.png"))
    assert picture.shape == (LEGEND + 3 * (14 + 240 + 4), 4 * (240 + 4), 3)


def test_a_picture_shows_what_was_scored(runs, tmp_path, capsys, monkeypatch):
    shown = []

    def spy(change, a, b, colours):
        shown.append((change, a, b))
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr("segtrain.build.views.draw", spy)
    compare(f"{runs}/a {runs}/b output=out pictures=4", capsys)
    task = make_task("multiclass", read_report(runs / "a" / "eval" / "test").class_names)
    assert len(shown) == 4
    for change, *sides in shown:
        for side, value in zip(sides, (change.a, change.b), strict=True):
            maps = [torch.from_numpy(labels)[None].long() for labels in (side.prediction, side.truth)]
            assert metrics.macro_imagewise(count(*maps, task), metrics.iou).item() == pytest.approx(value, abs=1e-3)


def test_runs_whose_checkpoint_is_gone_keep_their_tables(runs, tmp_path, capsys):
    report = read_report(runs / "a" / "eval" / "test")
    about = {**report.about, "ckpt": "gone/checkpoints/best.pt"}
    moved = Report(report.mode, report.class_names, report.ids, report.counts, report.scores, about)
    (tmp_path / "moved").mkdir()
    write_report(tmp_path / "moved", moved)
    assert "no pictures: gone/checkpoints/best.pt" in compare(f"moved {runs}/b output=out", capsys)
    assert (tmp_path / "out" / "comparison.csv").exists()


def test_help_and_the_config_need_no_torch():
    code = (
        "import sys; from segtrain.cli import main; "
        "assert main(['compare', '--help']) == main(['compare', 'a', 'b', '--cfg', 'job']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pictures: 8" in done.stdout
