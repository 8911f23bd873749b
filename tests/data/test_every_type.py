"""Images of every type of number and every count of channels go through every choice of augmentation."""

import logging

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml
from hydra.utils import instantiate
from PIL import Image

from segtrain import load_model
from segtrain.build import with_changed_range
from segtrain.cli import main
from segtrain.config.compose import overlay
from segtrain.config.groups import Groups
from segtrain.data.folder import Folder
from segtrain.data.loader import AugmentedDataset
from segtrain.data.sample import RawSample
from segtrain.models import Normalize
from tests.test_floors import ROOT

RANGES = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "uint16 of 12 bits": (0, 4095),
    "float32": (0, 1),
    "float32 of 8 bits": (0, 255),
    "float64": (0, 1),
    "int16": (-1000, 3000),
}
CHANNELS = (1, 2, 3, 4, 6)
CHOICES = Groups.find().choices("augment")


def make_root(root, kind, channels, count=3):
    low, high = RANGES[kind]
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        unit = cv2.GaussianBlur(rng.random((40, 48, 6)), (5, 5), 0)[..., :channels]
        unit = (unit - unit.min()) / (unit.max() - unit.min())
        pixels = (low + unit * (high - low)).astype(kind.split()[0])
        photometric = "rgb" if channels == 3 else "minisblack"
        pixels = pixels[..., 0] if channels == 1 else pixels
        tifffile.imwrite(root / f"images/i{number}.tif", pixels, photometric=photometric, planarconfig="contig")
        Image.fromarray(rng.integers(0, 2, (40, 48), dtype=np.uint8)).save(root / f"masks/i{number}.png")
    return root


def augmentation(choice):
    return instantiate(yaml.safe_load((ROOT / f"configs/augment/{choice}.yaml").read_text()), _convert_="all")


def dataset(root, choice, **options):
    source = Folder(split="train", root=str(root), classes=["thing"], **options)
    source.verify()
    data = AugmentedDataset(source, augmentation(choice).train_pipeline(32), seed=0)
    data.suit_pipeline()
    return data


def test_the_choices_of_augmentation_are_all_here():
    assert {"none", "light", "standard"} <= set(CHOICES)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", RANGES)
def test_images_keep_their_range_under_every_augmentation(tmp_path, kind, channels, choice):
    data = dataset(make_root(tmp_path, kind, channels), choice, channels=channels)
    low, high = RANGES[kind]
    fitted = data._fitted(0).image.astype(np.float64)
    for epoch in range(8):
        image = data[epoch, 0]["image"]
        assert image.shape == (channels, 32, 32)
        values = image.float().double().numpy()
        assert low - 1e-3 * (high - low) <= values.min() <= values.max() <= high + 1e-3 * (high - low)
        # neither white nor black: brightness moves the mean by a fifth or so, and keeps contrast
        assert abs(values.mean() - fitted.mean()) < 0.45 * (high - low)
        assert values.std() > 0.2 * fitted.std()


def test_a_change_of_colour_that_cannot_take_the_channels_is_left_out_and_named_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    data = dataset(make_root(tmp_path, "uint8", 4), "standard", channels=4)
    for epoch in range(3):
        data[epoch, 0]
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("augment: ColorJitter is left out for 4 channels: ")


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_is_left_out_for_gray_and_rgb(tmp_path, caplog, channels):
    data = dataset(make_root(tmp_path, "uint16", channels), "standard", channels=channels)
    assert len(data.pipeline.transforms) == 4
    assert "left out" not in caplog.text


def test_mirroring_sixteen_bits_changes_no_value():
    import albumentations as A

    from segtrain.data.transforms import Augment

    image = np.random.default_rng(0).integers(0, 65536, (32, 32, 3)).astype(np.uint16)
    pipeline = Augment(transforms=[A.HorizontalFlip(p=1)]).train_pipeline(32)
    mirrored = pipeline.augment(RawSample(image, np.zeros((32, 32), np.uint8), "a"), (0,)).image
    assert np.array_equal(mirrored, image[:, ::-1])


def test_the_stated_range_decides_how_far_brightness_moves(tmp_path):
    import albumentations as A

    from segtrain.data.transforms import Augment

    brighter = A.RandomBrightnessContrast(brightness_limit=(0.2, 0.2), contrast_limit=(0, 0), p=1)
    image = np.full((32, 32, 1), 1000, np.uint16)
    pipeline = Augment(transforms=[brighter]).train_pipeline(32).suited_to(image, (0.0, 4095.0))
    result = pipeline.augment(RawSample(image, np.zeros((32, 32), np.uint8), "a"), (0,)).image
    assert np.unique(result).tolist() == [1819]  # 1000 + 0.2 * 4095


@pytest.mark.parametrize(("kind", "line"), [("float32 of 8 bits", "[0,255]"), ("int16", "[-1000,4095]")])
def test_the_range_that_is_named_reaches_the_model_and_its_checkpoint(tmp_path, kind, line):
    root = make_root(tmp_path / "data", kind, 1, count=4)
    words = [
        *("data=folder", f"data.root={root}", "data.classes=[thing]", "data.channels=1", "data.image_size=32"),
        *("encoder=test_resnet", "encoder.weights=null", "logger=none", "data.batch_size=2", "data.num_workers=0"),
        *("trainer.max_steps=1", f"hydra.run.dir={tmp_path / 'run'}"),
    ]
    assert main(words) == 0
    assert f"set data.value_range={line}" in (tmp_path / "run/train.log").read_text()
    assert main([*words[:-1], f"hydra.run.dir={tmp_path / 'ranged'}", f"data.value_range={line}"]) == 0
    model = load_model(tmp_path / "ranged")
    low, high = yaml.safe_load(line)
    ends = model.normalize(torch.tensor([low, high]).float().view(1, 1, 1, 2)).flatten() * model.normalize.std[0]
    assert (ends + model.normalize.mean[0]).tolist() == pytest.approx([0, 1], abs=1e-5)


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    """A run on floats of 0 to 255, and the folder of its data."""
    folder = tmp_path_factory.mktemp("ranged")
    root = make_root(folder / "data", "float32 of 8 bits", 1, count=4)
    words = [
        *("data=folder", f"data.root={root}", "data.classes=[thing]", "data.channels=1", "data.image_size=32"),
        *("encoder=test_resnet", "encoder.weights=null", "logger=none", "data.batch_size=2", "data.num_workers=0"),
        *("trainer.max_steps=1", f"hydra.run.dir={folder / 'run'}", "data.value_range=[0,255]"),
    ]
    assert main(words) == 0
    return folder / "run", root


def test_pictures_are_black_and_white_where_the_data_is(ranged, tmp_path):
    run, root = ranged
    assert main(["predict", str(run), str(root / "images"), str(tmp_path / "out"), "overlay=0", "device=cpu"]) == 0
    for number in range(4):
        pixels = tifffile.imread(root / f"images/i{number}.tif")
        with Image.open(tmp_path / f"out/overlays/i{number}.jpg") as picture:
            assert np.abs(np.asarray(picture.convert("L")) - pixels).mean() < 3  # JPEG is not exact
    with Image.open(run / "overview.png") as overview:
        photo = np.asarray(overview.convert("RGB"))[-200:-10, 5:200]  # the left panel, below its title
    assert 60 < photo.mean() < 195  # white if the floats were taken for 0 to 1


def trained_normalize(run):
    payload = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    return Normalize(**payload["normalize"]), payload["config"]


@pytest.mark.parametrize(("words", "white"), [("[0,510]", 510.0), ("null", 1.0)])
def test_a_range_that_is_changed_for_a_run_is_the_one_in_use(ranged, words, white):
    normalize, trained = trained_normalize(ranged[0])
    job = overlay(trained, [f"data.value_range={words}"])
    changed = with_changed_range(normalize, trained, job)
    pixels = torch.full((1, 1, 1, 1), white)
    assert (changed(pixels) * changed.std[0] + changed.mean[0]).item() == pytest.approx(1, abs=1e-5)
    assert with_changed_range(normalize, trained, trained) is normalize


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_eval_and_predict_take_another_range_or_refuse_it_in_a_line(ranged, refused, tmp_path, command):
    run, root = ranged
    words = {"eval": [f"output={tmp_path}"], "predict": [str(root / "images"), str(tmp_path / "out")]}[command]
    assert main([command, str(run), *words, "data.value_range=[0,510]", "device=cpu"]) == 0
    (line,) = refused(command, str(run), *words, "data.value_range=[510,0]")
    assert "data.value_range: 510, 0, expected black before white, such as [0,4095]" in line
    (line,) = refused(command, str(run), *words, "data.value_range=510")
    assert "data.value_range" in line


def test_a_range_from_white_to_black_is_refused(refused, tmp_path):
    root = make_root(tmp_path / "data", "uint16", 1)
    words = f"data=folder data.root={root} data.classes=[thing] data.value_range=[4095,0] encoder=test_resnet"
    (line,) = refused(*words.split(), "encoder.weights=null")
    assert "data.value_range: 4095, 0, expected black before white, such as [0,4095]" in line


def test_no_channels_are_refused(refused, tmp_path):
    words = f"data=folder data.root={tmp_path} data.classes=[thing] data.channels=0 encoder=test_resnet"
    (line,) = refused(*words.split(), "encoder.weights=null")
    assert "data.channels: expected at least 1, got 0" in line
