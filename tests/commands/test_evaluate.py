"""`segtrain eval` on a run of seconds: what it writes, at which size it scores, what it keeps in the checkpoint."""

import csv
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segtrain import load_model
from segtrain.cli import main
from segtrain.data.files.images import read_image, read_mask
from segtrain.evaluation.reports import read_report
from segtrain.run import checkpoint

SIZE = (52, 76)


def write_blobs(root, count=14):
    """Write photos in which dark blobs are the class, with noise, so that thresholds matter."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for number in range(count):
        y, x, radius = rng.uniform(10, 42), rng.uniform(10, 66), rng.uniform(6, 14)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        pixels = 150 - 70 * mask[..., None] + rng.normal(0, 35, (*SIZE, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / f"{number:02}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    write_blobs(folder / "photos")
    words = ["data=folder", f"data.root={folder / 'photos'}", "data.classes=[blob]", "data.val_fraction=0.4"]
    small = ["data.image_size=32", "data.batch_size=4", "data.num_workers=0", "encoder=test_resnet"]
    options = [
        "encoder.weights=null",
        "loss=bce",
        "trainer.epochs=30",
        "trainer.val_every=30",
        "optimizer.lr=0.005",
        f"hydra.run.dir={folder / 'run'}",
    ]
    assert main([*words, *small, *options]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def evaluated(run):
    assert main(["eval", f"ckpt={run}", "eval.boundary=true", "eval.surface=true", "eval.bootstrap=50"]) == 0
    return run / "eval" / "val"


def scores_of(run):
    return json.loads((run / "scores.json").read_text())["val"]


def test_a_report_of_tables_and_pictures_lies_beside_the_scores(evaluated):
    names = {path.name for path in evaluated.iterdir() if path.is_file()}
    tables = {"images.csv", "confusion.csv", "precision_recall.csv", "reliability.csv"}
    assert names == {"report.json", "metrics.csv", *tables, "confusion.png", "precision_recall.png", "reliability.png"}
    assert len(list(csv.DictReader((evaluated / "images.csv").open()))) == 6


def test_masks_are_scored_at_their_own_size_by_default(run, evaluated):
    report = read_report(evaluated)
    assert report.scores["at"] == "original"
    assert report.counts.decided.tolist() == [SIZE[0] * SIZE[1]] * 6
    assert scores_of(run)["at"] == "original"


def test_the_scores_are_those_of_the_masks_that_predict_writes(run, evaluated, tmp_path):
    photos = run.parent / "photos"
    assert main(["predict", f"ckpt={run}", f"input={photos / 'images'}", f"output={tmp_path}", "overlay=null"]) == 0
    report = read_report(evaluated)
    for name, tp, fp in zip(report.ids, report.counts.tp[:, 0].tolist(), report.counts.fp[:, 0].tolist(), strict=True):
        predicted, truth = read_mask(tmp_path / f"{name}.png") == 1, read_mask(photos / "masks" / f"{name}.png") == 1
        assert (tp, fp) == ((predicted & truth).sum(), (predicted & ~truth).sum())


def test_images_of_other_channels_are_told_what_the_checkpoint_takes(run, tmp_path, refused):
    write_blobs(tmp_path / "bands", count=4)
    for path in (tmp_path / "bands/images").iterdir():
        pixels = np.asarray(Image.open(path))[..., :2]
        tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="minisblack", planarconfig="contig")
        path.unlink()
    said = "the image has 2 channels, the checkpoint takes 3; give images of 3 channels, or a checkpoint trained with "
    (line,) = refused("eval", f"ckpt={run}", f"data.root={tmp_path / 'bands'}")
    assert line.endswith(f"00.tif: {said}data.channels=2")
    lines = refused("predict", f"ckpt={run}", f"input={tmp_path / 'bands/images'}", f"output={tmp_path / 'masks'}")
    assert [said in line for line in lines] == [True] * 4


def test_everything_that_was_asked_for_is_in_the_scores(evaluated):
    scores = read_report(evaluated).scores
    assert 0 < scores["boundary_iou"]["mean"] < 1
    assert scores["surface_hausdorff"]["per_class"].keys() == {"blob"}
    low, high = scores["intervals"]["iou"]
    assert low <= scores["iou"] <= high
    assert scores["intervals"]["per_class"]["blob"]["iou"] == [low, high]
    assert scores["thresholds"]["blob"]["iou"] >= scores["iou"]
    assert 0 <= scores["calibration"]["ece"] <= 1


def test_tensorboard_shows_the_pictures_of_both_validation_and_evaluation(run, evaluated):
    for folder, names in ((run, {"val/confusion"}), (evaluated, {"val/confusion", "val/reliability"})):
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        assert names <= set(events.Tags()["images"])


def test_the_size_that_the_model_saw_is_scored_on_request(run, tmp_path):
    words = ["eval.at=input", "eval.bootstrap=0", "eval.curves=false"]
    assert main(["eval", f"ckpt={run}", f"output={tmp_path}", *words]) == 0
    report = read_report(tmp_path / "eval" / "val")
    assert report.counts.decided.tolist() == [32 * 32] * 6
    assert {"intervals", "thresholds", "calibration"}.isdisjoint(report.scores)
    assert not (tmp_path / "eval" / "val" / "reliability.png").exists()


def test_curves_that_are_not_asked_for_again_do_not_stay(run, tmp_path):
    for words in ([], ["eval.curves=false"]):
        assert main(["eval", f"ckpt={run}", f"output={tmp_path}", "eval.bootstrap=0", *words]) == 0
        kept = {path.stem for path in (tmp_path / "eval" / "val").glob("*.csv")}
        assert ({"precision_recall", "reliability"} <= kept) == (words == [])
    assert {"images", "metrics", "confusion"} <= kept


def test_training_leaves_the_report_of_its_best_validation(run, tmp_path):
    words = ["data=shapes", "data.size=32", "data.image_size=32", "data.train=8", "data.val=4", "trainer.max_steps=2"]
    assert main([*words, "encoder=test_resnet", "logger=none", f"hydra.run.dir={tmp_path}"]) == 0
    report = read_report(tmp_path / "eval" / "val")
    assert len(report.ids) == 4
    assert report.scores == {key: scores_of(tmp_path)[key] for key in report.scores}
    assert (tmp_path / "eval" / "val" / "confusion.png").is_file()


@pytest.fixture(scope="module")
def calibrated(run, tmp_path_factory):
    """A copy of the checkpoint with thresholds and temperature, and the scores before it had them."""
    folder = tmp_path_factory.mktemp("calibrated")
    file = folder / "model.pt"
    file.write_bytes((run / "checkpoints" / "best.pt").read_bytes())
    assert main(["eval", f"ckpt={file}", f"output={folder / 'before'}", "eval.calibrate=true"]) == 0
    return file, json.loads((folder / "before" / "scores.json").read_text())["val"]


def test_thresholds_and_temperature_stay_in_the_checkpoint(calibrated):
    file, before = calibrated
    kept = checkpoint.read(file)["operating_point"]
    assert kept["split"] == "val"
    assert kept["temperature"] == before["calibration"]["temperature"]
    assert 0 < kept["thresholds"][0] < 1


def test_later_evaluations_decide_at_the_threshold_that_was_kept(calibrated, tmp_path):
    file, before = calibrated
    assert main(["eval", f"ckpt={file}", f"output={tmp_path}"]) == 0
    after = scores_of(tmp_path)
    assert after["iou"] == pytest.approx(before["thresholds"]["blob"]["iou"], abs=2e-3)
    assert after["iou"] > before["iou"]


def test_later_evaluations_measure_the_probabilities_that_were_calibrated(calibrated, tmp_path):
    file, before = calibrated
    assert main(["eval", f"ckpt={file}", f"output={tmp_path}", "eval.bootstrap=0"]) == 0
    after = scores_of(tmp_path)["calibration"]
    assert after["temperature"] == pytest.approx(1, abs=0.02)
    assert after["ece"] == pytest.approx(before["calibration"]["ece_calibrated"], abs=2e-3)


def test_predictions_decide_at_the_threshold_that_was_kept(run, calibrated, tmp_path):
    image = sorted((run.parent / "photos" / "images").iterdir())[0]
    for name, source in (("before", run), ("after", calibrated[0])):
        assert main(["predict", f"ckpt={source}", f"input={image}", f"output={tmp_path / name}", "overlay=null"]) == 0
    before, after = (read_mask(tmp_path / name / f"{image.stem}.png") for name in ("before", "after"))
    assert (before != after).any()


def test_loaded_probabilities_are_calibrated_and_thresholds_come_along(run, calibrated):
    file, before = calibrated
    raw, model = load_model(file), load_model(file, activation="sigmoid")
    image = torch.from_numpy(read_image(sorted((run.parent / "photos" / "images").iterdir())[0])).permute(2, 0, 1)[None]
    with torch.inference_mode():
        logits, probabilities = raw(raw.normalize(image)), model(model.normalize(image))
    torch.testing.assert_close(probabilities, (logits / before["calibration"]["temperature"]).sigmoid())
    assert model.thresholds == pytest.approx(checkpoint.read(file)["operating_point"]["thresholds"])
    assert load_model(run).thresholds is None


def test_thresholds_chosen_on_the_test_split_get_a_warning(tmp_path, run, capsys):
    (tmp_path / "model.pt").write_bytes((run / "checkpoints" / "best.pt").read_bytes())
    write_blobs(tmp_path / "others")
    words = [f"ckpt={tmp_path / 'model.pt'}", f"output={tmp_path}", f"data.root={tmp_path / 'others'}"]
    shares = ["data.split=test", "data.test_fraction=0.2"]
    assert main(["eval", *words, *shares, "eval.calibrate=true", "eval.bootstrap=0"]) == 0
    assert "thresholds chosen on the test split flatter the scores on it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("eval.at=orginal", "eval.at: expected one of original, input, got 'orginal'"),
        ("eval.bootstrap=-1", "eval.bootstrap: expected at least 0"),
        ("eval.absnt=one", "absnt"),
    ],
)
def test_a_wrong_option_is_one_line(run, word, said, capsys):
    assert main(["eval", f"ckpt={run}", word]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
