"""`segtrain predict`: any input, seen in any way, written in any form; what is done is skipped, what is bad said."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from segtrain import Predictor
from segtrain.cli import main
from segtrain.commands import written
from segtrain.data.formats.coco import Coco
from segtrain.data.palette import colorize
from tests.conftest import TINY

MASKS = ["overlay=null"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "run"
    assert main([*TINY, "trainer.epochs=2", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def other(run):
    """Another training of the same classes."""
    folder = run.parent / "other"
    assert main([*TINY, "arch=fpn", "seed=1", "trainer.max_steps=10", f"hydra.run.dir={folder}"]) == 0
    return folder


def pixels(height=50, width=75, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def photos(here):
    folder = here / "photos"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        Image.fromarray(pixels(seed=seed)).save(folder / name)
    return folder


def read(path):
    return np.asarray(Image.open(path))


def predict(*words):
    return main(["predict", *map(str, words)])


@pytest.mark.parametrize("infer", ["tta", "tiles"])
def test_predict_eval_and_score_agree_to_the_last_pixel_in_each_way_of_seeing(run, here, infer):
    """The images of the split are written to files, so that all three see the same."""
    from segtrain.data.formats.shapes import Shapes

    source = Shapes(split="val", size=72, train=8, val=6, test=2)
    for index in range(len(source)):
        sample = source[index]
        for folder, array in (("images/val", sample.image), ("masks/val", sample.mask)):
            (here / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(here / "data" / folder / f"{index}.png")
    classes = f"[{','.join(source.class_names)}]"
    data = ["data=folder", f"data.root={here / 'data'}", f"data.classes={classes}", "data.split=val"]
    assert main(["eval", str(run), f"infer={infer}", *data, "output=scored", "eval.bootstrap=0"]) == 0
    assert predict(run, here / "data/images/val", "masks", f"infer={infer}", *MASKS) == 0
    words = [f"classes={classes}", "bootstrap=0", "output=files"]
    assert main(["score", "masks", str(here / "data/masks/val"), *words]) == 0
    (report,) = (here / "scored" / "eval").iterdir()
    ours, files = (json.loads((folder / "report.json").read_text())["scores"] for folder in (report, here / "files"))
    assert ours["iou"] == pytest.approx(files["iou"], abs=1e-9)
    assert ours["iou_imagewise"] == pytest.approx(files["iou_imagewise"], abs=1e-9)
    assert 0 < ours["iou"] < 1


def test_tiles_cut_from_the_own_size_are_another_answer_than_the_whole_and_the_same_in_python(run, photos):
    assert predict(run, photos / "a.png", "whole", *MASKS) == 0
    assert predict(run, photos / "a.png", "tiles", "infer.overlap=0.25", "infer=tiles", *MASKS) == 0
    tiled = Predictor(run, infer=["tiles", "infer.overlap=0.25"])
    assert np.array_equal(read("tiles/a.png"), tiled(photos / "a.png"))
    assert not np.array_equal(read("tiles/a.png"), read("whole/a.png"))


def test_the_mean_of_several_models_is_that_of_their_probabilities(run, other, photos):
    pair = f"ckpt=[{run},{other}]"
    assert predict(pair, f"input={photos}", "output=mean", *MASKS) == 0
    models = [Predictor(each) for each in (run, other)]
    expected = np.mean([each.probabilities(photos / "a.png") for each in models], axis=0).argmax(0)
    assert np.mean(read("mean/a.png") == expected) > 0.999
    assert np.array_equal(Predictor([run, other])(photos / "a.png"), read("mean/a.png"))
    assert not np.array_equal(read("mean/a.png"), models[0](photos / "a.png"))


def test_the_folder_of_a_sweep_stands_for_the_mean_of_its_runs(run, other, photos, capsys):
    for number, each in enumerate((run, other)):
        Path("sweep").mkdir(exist_ok=True)
        Path("sweep", str(number)).symlink_to(each)
    assert predict("sweep", photos, "mean", *MASKS) == 0
    assert "the mean of 2 models: sweep/0/checkpoints/best.pt, sweep/1/" in capsys.readouterr().out
    assert main(["eval", "sweep", "output=scored", "data.split=test", "eval.bootstrap=0"]) == 0


@pytest.mark.slow
def test_a_mean_is_compared_and_not_scored_on_what_one_of_its_models_has_seen(here, refused, capsys):
    folds = [*TINY, "trainer.max_steps=2", "arch=fpn"]
    from tests.data.layouts import save, scenes

    for split, name, photo, labels in scenes(4):
        save(here / "data" / "images" / f"{split}{name}.png", photo)
        save(here / "data" / "masks" / f"{split}{name}.png", labels % 2)
    data = ["data=folder", f"data.root={here / 'data'}", "data.classes=[a,b]", "data.image_size=32", "data.folds=2"]
    small = [word for word in folds if not word.startswith("data")]
    for fold in (0, 1):
        words = [
            *small,
            *data,
            f"data.fold={fold}",
            "data.batch_size=2",
            "data.test_fraction=0.25",
            "encoder.weights=null",
        ]
        assert main([*words, f"hydra.run.dir=folds/{fold}"]) == 0
    (line,) = refused("eval", "folds", "output=mean", "data.split=val")
    assert "folds/1/checkpoints/best.pt: was trained on" in line
    assert main(["eval", "folds", "output=mean", "data.split=test", "eval.bootstrap=9"]) == 0
    assert main(["eval", "folds/0", "output=one", "data.split=test", "eval.bootstrap=9"]) == 0
    capsys.readouterr()
    assert main(["compare", "one", "mean", "bootstrap=9", "output=both"]) == 0
    assert "no pictures" not in capsys.readouterr().out


def test_models_that_do_not_go_together_are_refused_in_a_line(run, photos, refused):
    assert main([*TINY, "trainer.max_steps=1", "data.image_size=64", "hydra.run.dir=large"]) == 0
    (line,) = refused("predict", f"ckpt=[{run},large]", f"input={photos}", "output=masks")
    assert "large/checkpoints/best.pt: its data.image_size is 64, of" in line
    assert line.endswith("expected the same; write data.image_size=... for all")
    payload = torch.load("large/checkpoints/best.pt", weights_only=True)
    payload["class_names"] = ["background", "disc", "square", "triangle", "moon"]
    torch.save(payload, "moon.pt")
    (line,) = refused("predict", f"ckpt=[{run},moon.pt]", f"input={photos}", "output=masks", "data.image_size=32")
    assert "its classes are background, disc, square, triangle, moon, of" in line
    (line,) = refused("eval", f"ckpt=[{run},{run}]")
    assert "2 models have no run folder of their own; say where to: output=ensemble" in line


def test_masks_with_a_palette_and_in_colours_show_the_labels(run, photos):
    predictor = Predictor(run)
    labels = predictor(photos / "a.png")
    assert predict(run, photos, "palette", "values=palette", *MASKS) == 0
    assert predict(run, photos, "colours", "values=colours", *MASKS) == 0
    with Image.open("palette/a.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), labels)
        assert np.array_equal(np.asarray(picture.convert("RGB")), colorize(labels, predictor.palette))
    assert np.array_equal(read("colours/a.png"), colorize(labels, predictor.palette))


def test_probabilities_and_uncertainty_are_16_bits_of_gray(run, photos):
    assert predict(run, photos, "masks", "scores=[probabilities,uncertainty]", *MASKS) == 0
    expected = Predictor(run).probabilities(photos / "a.png")
    names = Predictor(run).class_names
    found = np.stack([read(f"masks/probabilities/{name}/a.png") for name in names]) / 65535
    np.testing.assert_allclose(found, expected, atol=1e-5)
    entropy = -(expected * np.log(expected.clip(1e-9))).sum(0) / np.log(len(names))
    np.testing.assert_allclose(read("masks/uncertainty/a.png") / 65535, entropy, atol=1e-4)


def test_annotations_hold_the_labels_of_all_images_and_grow_when_images_are_added(run, photos, capsys):
    words = [run, photos, "masks", "annotations=[coco,cvat,labelme,geojson]", "values=labels", *MASKS]
    assert predict(*words) == 0
    Image.fromarray(pixels(seed=7)).save(photos / "c.png")
    assert predict(*words) == 0
    printed = capsys.readouterr().out
    assert "2 images done already and skipped" in printed
    assert "masks of 1 image written" in printed
    source = Coco(split="all", root="masks/coco", images=str(photos))
    assert source.ids == ("a", "b", "c")
    names = ("background", *Predictor(run).class_names[1:])
    assert source.class_names == names
    for index, name in enumerate(source.ids):
        assert np.array_equal(source.mask(index), read(f"masks/{name}.png"))
    assert sorted(path.name for path in Path("masks/labelme").glob("*.json")) == ["a.json", "b.json", "c.json"]
    assert len(list(Path("masks/geojson").iterdir())) == 3
    assert Path("masks/cvat/annotations.xml").read_text().count("<image ") == 3


def test_what_is_done_is_skipped_unless_it_or_the_options_changed(run, photos, capsys):
    def second(*words):
        capsys.readouterr()
        assert predict(run, photos, "masks", *words) == 0
        printed = capsys.readouterr().out
        return "2 images done" in printed, "1 image done" in printed, "written to" in printed

    assert second() == (False, False, True)
    assert second() == (True, False, False)
    assert second("redo=true") == (False, False, True)
    assert second("infer=tta") == (False, False, True)
    assert second("infer=tta") == (True, False, False)
    Path("masks/b.png").unlink()
    assert second("infer=tta") == (False, True, True)
    Image.fromarray(pixels(seed=9)).save(photos / "a.png")
    assert second("infer=tta") == (False, True, True)


def test_lists_patterns_and_several_words_are_inputs(run, photos):
    (photos / "list.txt").write_text("a.png\n../photos/b.png\n")
    for number, given in enumerate((photos / "list.txt", "photos/*.png", f"[{photos}/a.png,photos/b.png]")):
        assert predict(f"ckpt={run}", f"input={given}", f"output=out{number}", *MASKS) == 0
        assert sorted(path.name for path in Path(f"out{number}").glob("*.png")) == ["a.png", "b.png"]


def on_map(path, size=(70, 90), **changes):
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)
    profile = {"driver": "GTiff", "height": size[0], "width": size[1], "count": 3, "dtype": "uint8", "nodata": 7}
    image = pixels(*size)
    image[image == 7] = 8
    image[:20, :30] = 7
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **{**profile, **changes}) as file:
        file.write(image.transpose(2, 0, 1))
    return rasterio


@pytest.mark.parametrize("infer", ["whole", "tiles"])
def test_an_image_on_the_map_gives_a_mask_on_the_map(run, here, infer):
    rasterio = on_map("map.tif")
    assert predict(run, "map.tif", "masks", f"infer={infer}", *MASKS) == 0
    with rasterio.open("map.tif") as image, rasterio.open("masks/map.tif") as mask:
        assert (mask.crs, mask.transform, mask.nodata) == (image.crs, image.transform, 255)
        labels, empty = mask.read(1), (image.read() == 7).all(0)
    assert ((labels == 255) == empty).all()
    assert np.array_equal(labels[~empty], Predictor(run, infer=infer)("map.tif")[~empty])


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_large_image_is_predicted_row_by_row_as_at_once(run, here, suffix, monkeypatch):
    image = pixels(300, 210)
    if suffix == "tif":
        tifffile.imwrite("large.tif", image, photometric="rgb", tile=(64, 64))
    else:
        Image.fromarray(image).save("large.png")
    words = ["infer=tiles", "scores=[uncertainty]", "annotations=[coco]", "values=labels"]
    assert predict(run, f"large.{suffix}", "once", "suffix=tif", *words) == 0
    monkeypatch.setattr(written, "LONG", 300 * 210)
    assert predict(run, f"large.{suffix}", "rows", "suffix=tif", *words) == 0
    for name in ("large.tif", "uncertainty/large.tif"):
        assert np.array_equal(tifffile.imread(Path("once", name)), tifffile.imread(Path("rows", name)))
    assert np.array_equal(tifffile.imread("rows/large.tif"), Predictor(run, infer="tiles")(image))
    assert Path("once/coco/instances_default.json").read_text() == Path("rows/coco/instances_default.json").read_text()
    assert Image.open("rows/overlays/large.jpg").size == (210, 300)


def test_an_error_halfway_leaves_no_file_of_the_image(run, here, monkeypatch, capsys):
    tifffile.imwrite("large.tif", pixels(300, 210), photometric="rgb", rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile("large.tif") as file:
        at = file.pages[0].dataoffsets[-1]
    data = bytearray(Path("large.tif").read_bytes())
    data[at : at + 30] = bytes(30)
    Path("large.tif").write_bytes(data)
    monkeypatch.setattr(written, "LONG", 1)
    assert predict(run, "large.tif", "masks", "infer=tiles") == 2
    assert "large.tif: cannot be decoded" in capsys.readouterr().err
    assert [path.name for path in Path("masks").rglob("*")] == ["predictions.jsonl"]


def test_whole_images_whose_logits_do_not_fit_into_memory_are_a_line(run, photos, monkeypatch, refused):
    monkeypatch.setattr(written, "available_memory", lambda: 100_000)
    lines = refused("predict", str(run), str(photos), "masks")
    assert len(lines) == 2
    assert "75x50 pixels of 5 classes need 0.0 GiB" in lines[0]
    assert "write infer=tiles, which goes row by row" in lines[0]


def test_validation_sees_images_as_the_run_is_told_to(here):
    words = [*TINY, "data.size=48", "trainer.max_steps=4", "infer=tiles_tta", "infer.size=32", "trainer.val_every=1"]
    assert main([*words, "hydra.run.dir=run"]) == 0
    scores = json.loads(Path("run/scores.json").read_text())
    assert main(["eval", "run", "data.split=val", "eval.bootstrap=0", "precision=auto"]) == 0  # tiles from the run
    again = json.loads(Path("run/scores.json").read_text())
    assert scores["val"]["iou"] == pytest.approx(again["val"]["iou"], abs=1e-9)


def test_a_list_of_arrays_of_any_sizes_is_a_list_of_labels(run):
    images = [pixels(40, 30), pixels(40, 30, seed=1), pixels(33, 80), pixels(40, 30, seed=2)]
    predictor = Predictor(run)
    found = predictor.predict(images, batch_size=2)
    assert [each.shape for each in found] == [image.shape[:2] for image in images]
    for image, labels in zip(images, found, strict=True):
        assert np.mean(predictor(image) == labels) > 0.999
    assert predictor.predict([]) == []
