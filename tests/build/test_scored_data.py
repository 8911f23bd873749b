"""`segtrain eval` on data that is not the run's: what is scored, and under which name it is kept."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segtrain import create_model, save_model
from segtrain.cli import main
from segtrain.evaluation.reports import read_report

FAST = ["eval.bootstrap=0", "eval.curves=false"]


def write_squares(root, count, *, side=40, first=0):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        y, x = rng.integers(2, side // 2, 2)
        mask = np.zeros((side, side), np.uint8)
        mask[y : y + side // 3, x : x + side // 3] = 1
        pixels = np.repeat((60 + 120 * mask)[..., None], 3, axis=2)
        Image.fromarray(pixels).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    write_squares(folder / "photos", 12)
    small = ["data.image_size=32", "data.batch_size=4", "data.num_workers=0", "data.val_fraction=0.25"]
    words = ["data=folder", f"data.root={folder / 'photos'}", "data.classes=[square]", *small, "encoder=test_resnet"]
    options = ["encoder.weights=null", "trainer.epochs=1", "logger=none", f"hydra.run.dir={folder / 'run'}"]
    assert main([*words, *options]) == 0
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, which an evaluation may write to."""
    return shutil.copytree(trained, tmp_path / "run")


def evaluate(run, *words):
    assert main(["eval", f"ckpt={run}", *FAST, *words]) == 0


def scores_of(run):
    return json.loads((run / "scores.json").read_text())


def test_a_folder_that_is_not_the_runs_is_scored_whole_and_beside_the_runs_own_scores(run, tmp_path):
    before, report = scores_of(run), (run / "eval" / "val" / "report.json").read_bytes()
    write_squares(tmp_path / "others", 5, first=50)
    evaluate(run, f"data.root={tmp_path / 'others'}")
    assert scores_of(run)["val"] == before["val"]
    assert (run / "eval" / "val" / "report.json").read_bytes() == report
    assert read_report(run / "eval" / "others-all").ids == ("50", "51", "52", "53", "54")
    assert scores_of(run).keys() == {"val", "others-all"}


def test_two_folders_of_one_name_do_not_overwrite_each_other_and_a_second_look_replaces_the_first(run, tmp_path):
    for number, place in enumerate(("a", "b"), 1):
        write_squares(tmp_path / place / "photos", 2 + number, first=10 * number)
        evaluate(run, f"data.root={tmp_path / place / 'photos'}")
    evaluate(run, f"data.root={tmp_path / 'a' / 'photos'}")
    assert {path.name for path in (run / "eval").iterdir()} == {"val", "photos-all", "photos-all-2"}
    assert len(read_report(run / "eval" / "photos-all").ids) == 3
    assert len(read_report(run / "eval" / "photos-all-2").ids) == 4


def test_relative_folders_are_told_apart_by_where_they_are(run, tmp_path, monkeypatch):
    for number, place in enumerate(("a", "b"), 1):
        write_squares(tmp_path / place / "photos", 2 + number, first=10 * number)
        monkeypatch.chdir(tmp_path / place)
        evaluate(run, "data.root=photos")
    assert [len(read_report(run / "eval" / name).ids) for name in ("photos-all", "photos-all-2")] == [3, 4]


def test_the_runs_own_folder_is_known_by_a_relative_path_and_by_a_link_too(run, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.parent)
    (tmp_path / "link").symlink_to(trained.parent / "photos")
    for root in ("photos", tmp_path / "link"):
        evaluate(run, f"data.root={root}")
    assert {path.name for path in (run / "eval").iterdir()} == {"val", "val-training"}


def test_a_split_of_another_folder_is_scored_where_one_is_asked_for_or_there(run, tmp_path):
    others = tmp_path / "others"
    write_squares(others, 10, first=50)
    evaluate(run, f"data.root={others}", "data.split=val", "data.val_fraction=0.2")
    assert len(read_report(run / "eval" / "others-val").ids) == 2
    for kind in ("images", "masks"):
        for number in range(50, 60):
            place = others / kind / ("train" if number < 57 else "val")
            place.mkdir(exist_ok=True)
            (others / kind / f"{number}.png").rename(place / f"{number}.png")
    evaluate(run, f"data.root={others}")
    assert len(read_report(run / "eval" / "others-val-2").ids) == 3
    evaluate(run, f"data.root={others}", "data.split=all")
    assert len(read_report(run / "eval" / "others-all").ids) == 10


def test_the_scores_of_training_are_kept_when_its_validation_images_are_evaluated(run):
    before = scores_of(run)["val"]
    evaluate(run)
    assert scores_of(run)["val-training"] == before
    assert read_report(run / "eval" / "val-training").about["command"] == "train"
    assert read_report(run / "eval" / "val").about["command"] == "eval"
    evaluate(run)
    assert scores_of(run)["val-training"] == before


def go_on(run, epochs, *, best):
    """Resume up to so many epochs, as if the best validation so far had that score."""
    file = run / "checkpoints" / "last.pt"
    payload = torch.load(file, weights_only=True)
    payload["state"]["best"] = best
    torch.save(payload, file)
    assert main(["resume", str(run), f"trainer.epochs={epochs}"]) == 0


def test_a_run_that_goes_on_to_a_new_best_keeps_what_was_evaluated_before(run, capsys):
    kept = []
    for number, name in enumerate(("val-eval", "val-eval-2"), 2):
        evaluate(run)
        kept.append((scores_of(run)["val"], (run / "eval" / "val" / "report.json").read_bytes()))
        go_on(run, number, best=-1.0)
        assert f"the scores that segtrain eval gave an earlier checkpoint are kept as {name}" in capsys.readouterr().out
        assert scores_of(run)["val"]["epoch"] == number
        assert read_report(run / "eval" / "val").about["command"] == "train"
    found = [(scores_of(run)[name], run / "eval" / name / "report.json") for name in ("val-eval", "val-eval-2")]
    assert [(scores, file.read_bytes()) for scores, file in found] == kept


def test_a_run_that_goes_on_without_a_new_best_ends_with_its_own_best_though_it_was_evaluated(run, capsys):
    evaluate(run)
    before = scores_of(run)
    capsys.readouterr()
    go_on(run, 2, best=2.0)
    assert f"best validation: epoch 1, step {before['val-training']['step']}: iou" in capsys.readouterr().out
    assert scores_of(run) == before


def test_a_share_of_the_training_images_is_no_test_set(run, refused):
    (line,) = refused("eval", f"ckpt={run}", "data.split=test", "data.test_fraction=0.3")
    assert "4 of these 4 images were trained on" in line
    assert "leave out data.test_fraction=0.3, or train again with it" in line
    assert scores_of(run).keys() == {"val"}
    assert not (run / "eval" / "test").exists()


def test_runs_are_compared_by_the_name_of_a_report(run, tmp_path, capsys):
    write_squares(tmp_path / "others", 5, first=50)
    other = shutil.copytree(run, tmp_path / "second")
    for each in (run, other):
        evaluate(each, f"data.root={tmp_path / 'others'}")
    words = [str(run), str(other), f"output={tmp_path / 'comparison'}", "pictures=1", "bootstrap=10"]
    assert main(["compare", *words, "split=others-all"]) == 0
    assert str(run / "eval" / "others-all") in capsys.readouterr().out.replace("\n", "")
    assert main(["compare", *words, "split=photos-all"]) == 2
    assert "holds no scores of photos-all yet (only of val, others-all)" in capsys.readouterr().err


def test_few_images_that_hold_most_pixels_are_said(run, tmp_path, capsys):
    write_squares(tmp_path / "others", 6, first=50)
    write_squares(tmp_path / "others", 1, first=90, side=160)
    evaluate(run, f"data.root={tmp_path / 'others'}")
    assert "1 of 7 images hold 73% of the pixels" in capsys.readouterr().out
    words = [f"pred={tmp_path / 'others' / 'masks'}", f"truth={tmp_path / 'others' / 'masks'}", "classes=[square]"]
    assert main(["score", *words]) == 0
    assert "1 of 7 images hold 73% of the pixels" in capsys.readouterr().out


def test_an_evaluation_names_images_that_are_shrunk_far_more_than_in_training(run, tmp_path, capsys):
    write_squares(tmp_path / "others", 2, first=50, side=400)
    evaluate(run, f"data.root={tmp_path / 'others'}")
    assert (
        "50: 400x400 pixels are shrunk 12.5 times to 32x32, those of the training 1.2 times" in capsys.readouterr().out
    )


def test_images_of_other_channels_than_the_checkpoints_are_refused(run, refused):
    (line,) = refused("eval", f"ckpt={run}", "data.channels=1")
    assert "images of 1 channels, the checkpoint takes 3; set data.channels=3" in line


def test_data_that_is_chosen_anew_has_the_classes_and_the_size_of_the_checkpoint(tmp_path, capsys):
    write_squares(tmp_path / "photos", 3)
    model = create_model("fpn", "test_resnet", num_classes=2)
    save_model(model, tmp_path / "model.pt", class_names=["background", "square"], image_size=32)
    words = ["data=folder", f"data.root={tmp_path / 'photos'}", "data.split=all", f"output={tmp_path / 'out'}"]
    evaluate(tmp_path / "model.pt", *words, "data.num_workers=0")
    assert "data.classes are those of the checkpoint: background, square" in capsys.readouterr().out
    (folder,) = (tmp_path / "out" / "eval").iterdir()
    report = read_report(folder)
    assert (report.class_names, len(report.ids)) == (("background", "square"), 3)
    assert yaml.safe_load(report.about["config"])["data"]["image_size"] == 32


def test_several_data_sets_have_a_table_each_and_one_of_them_all(run, tmp_path, capsys):
    for number, name in enumerate(("day", "night"), 1):
        write_squares(tmp_path / name, 3 * number, first=20 * number)
    places = ",".join(str(tmp_path / name) for name in ("day", "night", "nowhere"))
    assert main(["eval", "-m", f"ckpt={run}", *FAST, f"data.root={places}"]) == 2
    printed = capsys.readouterr()
    assert {"day-all", "night-all"} <= scores_of(run).keys()
    assert "day-all split, 3 images" in printed.out
    assert "night-all split, 6 images" in printed.out
    assert "2 evaluations" in printed.out
    assert f"{tmp_path / 'nowhere'}: no such folder" in printed.err  # named, and the others are scored
    assert "Traceback" not in printed.err
