"""Train, evaluate, predict, sweep: the real command line on runs of a second."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segtrain import Predictor, load_model
from segtrain.cli import main
from segtrain.commands.sweep import plan_jobs
from segtrain.data.files.images import read_image
from segtrain.data.palette import colours_of
from segtrain.drawing.pictures import heading, legend
from segtrain.errors import CheckpointError, DataError
from segtrain.run import checkpoint
from segtrain.task import Multiclass
from segtrain.terminal.arguments import Arguments
from tests.conftest import TINY

CLASSES = ["background", "disc", "square", "triangle", "star"]
HEADLINES = {"iou", "iou_imagewise", "f1", "precision", "recall", "accuracy", "per_class"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main([*TINY, "trainer.epochs=2", "trainer.log_every=4", f"hydra.run.dir={folder}"]) == 0
    return folder


def scores_of(folder):
    return json.loads((folder / "scores.json").read_text())


def write_images(folder, sizes):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, (height, width) in sizes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)


def test_a_run_leaves_everything_in_its_folder(run):
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names >= {
        "config.yaml",
        "overrides.txt",
        "environment.json",
        "train.log",
        "metrics.jsonl",
        "scores.json",
        "overview.png",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    }
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["epochs"] == 2
    assert "trainer.epochs=2" in (run / "overrides.txt").read_text()
    assert re.search(r"epoch 2: val iou 0\.\d{4}, f1", (run / "train.log").read_text())


def test_scores_hold_every_headline_and_every_class(run):
    scores = scores_of(run)["val"]
    assert scores.keys() >= HEADLINES
    assert list(scores["per_class"]) == CLASSES
    assert 0 <= scores["iou"] <= 1


def test_metrics_are_one_strict_json_object_a_line(run):
    entries = [
        json.loads(line, parse_constant=pytest.fail) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    steps = [entry["step"] for entry in entries if entry["split"] == "train"]
    assert steps == [4, 8, 12, 16, 20]
    assert [entry["epoch"] for entry in entries if entry["split"] == "val"] == [0, 1]


def test_the_overview_shows_image_truth_and_prediction_under_a_legend_and_a_heading(run):
    picture = np.asarray(Image.open(run / "overview.png"))
    width = 3 * (240 + 4)
    assert picture.shape[1] == width
    above = legend(CLASSES, colours_of(Multiclass(CLASSES)), width).shape[0] + 4 + heading("", width).shape[0] + 4
    assert picture.shape[0] == above + 8 * (14 + 240 + 4)


def test_eval_scores_another_split_beside_the_first(run):
    assert main(["eval", f"ckpt={run}", "data.split=test"]) == 0
    scores = scores_of(run)
    assert scores["test"].keys() >= HEADLINES
    assert scores["test"]["iou"] != scores["val"]["iou"]


def test_eval_repeats_the_validation_of_the_best_checkpoint(run, tmp_path):
    as_in_training = ("precision=auto", "data.batch_size=3")
    assert main(["eval", f"ckpt={run}", f"output={tmp_path}", *as_in_training]) == 0
    again, first = scores_of(tmp_path)["val"], scores_of(run)["val"]
    assert again["iou"] == pytest.approx(first["iou"], abs=1e-3)


def test_load_model_gives_a_model_that_predicts_stored_pixels(run):
    model = load_model(run)
    assert not model.training
    assert list(model.class_names) == CLASSES
    image = torch.randint(0, 256, (1, 3, 45, 61), dtype=torch.uint8)
    with torch.inference_mode():
        assert model(model.normalize(image)).shape == (1, 5, 45, 61)
    same = load_model(run / "checkpoints" / "best.pt")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))


def test_predict_writes_masks_and_overlays_at_the_images_own_size(run, tmp_path):
    sizes = {"a.jpg": (45, 61), "b.png": (200, 30), "deep/c.png": (32, 32)}
    write_images(tmp_path / "photos", sizes)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    assert main(["predict", f"ckpt={run}", f"input={tmp_path / 'photos'}", f"output={tmp_path / 'masks'}"]) == 0
    written = sorted(path.relative_to(tmp_path / "masks").as_posix() for path in (tmp_path / "masks").rglob("*.png"))
    assert written == ["a.png", "b.png", "deep/c.png"]
    for name, size in sizes.items():
        mask = cv2.imread(str((tmp_path / "masks" / name).with_suffix(".png")), cv2.IMREAD_UNCHANGED)
        assert mask.shape == size
        assert mask.max() < len(CLASSES)
        overlay = Image.open((tmp_path / "masks" / "overlays" / name).with_suffix(".jpg"))
        assert overlay.size == size[::-1]


def test_predict_agrees_with_the_model_in_python(run, tmp_path):
    write_images(tmp_path / "photos", {"a.png": (32, 32)})
    command = ["predict", f"ckpt={run}", f"input={tmp_path / 'photos' / 'a.png'}", f"output={tmp_path}", "overlay=null"]
    assert main(command) == 0
    image = torch.from_numpy(read_image(tmp_path / "photos" / "a.png")).permute(2, 0, 1)[None]
    model = load_model(run)
    with torch.inference_mode():
        expected = model(model.normalize(image)).argmax(1)[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected.numpy())
    assert not (tmp_path / "overlays").exists()


def test_predict_goes_on_after_an_image_that_cannot_be_read(run, tmp_path, capsys):
    write_images(tmp_path / "photos", {"a.png": (32, 32), "c.png": (32, 32)})
    (tmp_path / "photos" / "b.png").write_bytes(b"nothing like an image")
    assert main(["predict", f"ckpt={run}", f"input={tmp_path / 'photos'}", f"output={tmp_path / 'masks'}"]) == 2
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.png")) == ["a.png", "c.png"]
    printed = capsys.readouterr()
    assert printed.err.count("b.png") == 1  # and not as a warning too
    assert "b.png" not in printed.out
    assert "masks of 2 images written" in printed.out


def test_a_single_image_is_predicted_into_the_file_that_is_named(run, tmp_path, refused):
    write_images(tmp_path / "photos", {"a.png": (32, 48), "b.png": (32, 32)})
    photo, output = tmp_path / "photos" / "a.png", tmp_path / "masks" / "out.png"
    assert main(["predict", f"ckpt={run}", f"input={photo}", f"output={output}"]) == 0
    assert [path.relative_to(tmp_path / "masks").as_posix() for path in (tmp_path / "masks").rglob("*")] == ["out.png"]
    assert np.array_equal(np.asarray(Image.open(output)), Predictor(run)(photo))
    (line,) = refused("predict", f"ckpt={run}", f"input={photo}", f"output={tmp_path / 'out.jpg'}")
    assert line.endswith(f"out.jpg: masks are PNG; write output={tmp_path / 'out.png'}, or a folder")
    (line,) = refused("predict", f"ckpt={run}", f"input={photo.parent}", f"output={tmp_path / 'new.png'}")
    assert "new.png: is one file, expected a folder for the masks of" in line
    (line,) = refused("predict", f"ckpt={run}", f"input={photo}", f"output={photo}")
    assert "would overwrite" in line


def test_predict_and_predictor_name_a_jpeg_whose_middle_is_destroyed(run, tmp_path, refused):
    path = tmp_path / "photos" / "b.jpg"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    (line,) = refused("predict", f"ckpt={run}", f"input={path.parent}", f"output={tmp_path / 'masks'}")
    assert line.startswith(f"segtrain: {path}: cannot be decoded: Corrupt JPEG data")
    assert list((tmp_path / "masks").rglob("*.png")) == []
    with pytest.raises(DataError, match="cannot be decoded: Corrupt JPEG data"):
        Predictor(run)(path)


def test_a_sweep_ranks_its_jobs_and_goes_on_after_one_that_fails(tmp_path, capsys):
    words = ["-m", *TINY, "trainer.max_steps=2", "arch=unet,fpn", "optimizer.lr=1e-3,1e30", "trainer.log_every=1"]
    assert main([*words, f"hydra.sweep.dir={tmp_path}"]) == 1
    with (tmp_path / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert [row["error"] == "" for row in rows] == [True, True, False, False]
    assert float(rows[0]["iou"]) >= float(rows[1]["iou"])
    assert all("1e+30" in row["varied"] for row in rows[2:])
    printed = capsys.readouterr()
    assert len(re.findall(r"^job [24] failed: step \d: the (?:loss|weights)", printed.out, re.MULTILINE)) == 2
    assert printed.err == "segtrain: 2 of 4 jobs failed: 2, 4; see above\n"
    assert all((tmp_path / row["job"] / "scores.json").exists() for row in rows[:2])
    assert {row["job"] for row in rows[:2]} == {"1", "3"}
    assert all(int(row["parameters"]) > 0 and float(row["seconds"]) > 0 for row in rows[:2])


def test_a_sweep_takes_encoders_that_have_no_file(tmp_path):
    words = [word for word in TINY if not word.startswith("encoder")]
    command = ["-m", *words, "encoder=test_resnet,mobilenetv3_small_050", "trainer.max_steps=1"]
    assert main([*command, f"hydra.sweep.dir={tmp_path}"]) == 0
    assert len((tmp_path / "leaderboard.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(("words", "name"), [(["name=mine"], "mine"), (["name=a,b"], "sweeps"), ([], "sweeps")])
def test_a_sweep_with_a_name_lies_in_its_folder(words, name):
    jobs = plan_jobs(Arguments("train", (*TINY, *words, "seed=0,1"), multirun=True))
    assert {job.plan.folder.parent.parent for job in jobs} == {Path("outputs") / name}


def test_a_folder_of_runs_names_the_newest(tmp_path):
    for number, name in enumerate(("old", "new")):
        last = tmp_path / name / "checkpoints" / "last.pt"
        last.parent.mkdir(parents=True)
        last.touch()
        os.utime(last, (number, number))
    with pytest.raises(CheckpointError, match=r"give outputs/<name>/<time>, such as \S+/new, the newest there"):
        checkpoint.find(tmp_path, best=True)


def test_a_folder_of_images_and_masks_trains_end_to_end(tmp_path):
    write_images(tmp_path / "data" / "images", {f"{n}.jpg": (40, 50) for n in range(12)})
    (tmp_path / "data" / "masks").mkdir()
    for number in range(12):
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30, number : number + 20] = 255
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{number}.png")
    command = [
        "data=folder",
        f"data.root={tmp_path / 'data'}",
        "data.classes=[thing]",
        "data.class_map={0: 0, 255: 1}",
        "data.image_size=32",
        "data.batch_size=4",
        "data.num_workers=0",
        "encoder=test_resnet",
        "encoder.weights=null",
        "loss=bce_dice",
        "trainer.epochs=2",
        "logger=none",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    assert main(command) == 0
    assert list(scores_of(tmp_path / "run")["val"]["per_class"]) == ["thing"]


@pytest.mark.parametrize("mode", ["smoke", "profile"])
def test_the_debug_modes_run(tmp_path, mode):
    assert main([*TINY, f"debug={mode}", "data.num_workers=0", f"hydra.run.dir={tmp_path}"]) == 0
    assert (tmp_path / "scores.json").exists()
    assert (tmp_path / "trace.json").exists() == (mode == "profile")


def test_pets_train_from_the_official_layout(shared_pets, tmp_path):
    command = ["arch=fpn", "encoder=efficientnet-b4", "data=oxford_pets", f"data.root={shared_pets}"]
    small = ["data.download=false", "encoder.weights=null", "trainer.max_steps=3", "data.limit=8", "data.image_size=64"]
    fast = ["data.batch_size=2", "data.num_workers=0", "logger=none", f"hydra.run.dir={tmp_path}"]
    assert main([*command, *small, *fast]) == 0
    assert list(scores_of(tmp_path)["val"]["per_class"]) == ["pet"]


def test_the_demo_learns(tmp_path):
    assert main(["trainer.max_steps=60", "data.val=32", "logger=none", f"hydra.run.dir={tmp_path}"]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[5] < 0.75 * losses[0]


def test_the_wheel_carries_its_configs_and_runs_from_another_folder(tmp_path):
    root = Path(__file__).resolve().parents[1]
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(root)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (tmp_path / "elsewhere").mkdir()
    code = "import sys, segtrain; from segtrain.cli import main; print(segtrain.__file__); sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, *TINY, "debug=smoke", "hydra.run.dir=run"],
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path / "site"))
    assert (tmp_path / "elsewhere" / "run" / "scores.json").exists()
    assert (tmp_path / "site" / "segtrain" / "py.typed").exists()
