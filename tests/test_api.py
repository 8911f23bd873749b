"""Trained models in Python: a predictor gives the pixels of the command, a model made here is read by every command."""

import numpy as np
import pytest
import torch
from PIL import Image

from segtrain import Predictor, create_model, load_model, save_model
from segtrain.cli import main
from segtrain.data.files.images import read_image
from segtrain.errors import ConfigError, DataError
from tests.conftest import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "run"
    assert main([*TINY, "trainer.epochs=2", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture
def photo(tmp_path):
    """A photo that has neither the size nor the proportions of the training images, which have 32x32 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos" / "a.png"


def predicted_by_the_command(ckpt, photo, *words):
    masks = photo.parents[1] / "masks"
    assert main(["predict", f"ckpt={ckpt}", f"input={photo}", f"output={masks}", "overlay=null", *words]) == 0
    return np.asarray(Image.open(masks / "a.png"))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_the_predictor_gives_the_pixels_of_the_command(run, photo, precision):
    expected = predicted_by_the_command(run, photo, f"precision={precision}")
    predictor = Predictor(run, precision=precision)
    assert predictor.class_names == ("background", "disc", "square", "triangle", "star")
    assert np.array_equal(predictor(read_image(photo)), expected)
    assert np.array_equal(predictor(photo), expected)
    assert len(np.unique(expected)) > 1


def test_a_loaded_model_carries_its_preprocessing(run, photo):
    expected = predicted_by_the_command(run, photo)
    model, image = load_model(run), read_image(photo)
    with torch.inference_mode():
        logits = model(model.preprocess(image))
        assert logits.shape == (1, 5, 32, 32)
        labels = model.preprocess.restore(logits, image.shape[:2]).argmax(1)[0]
    assert np.array_equal(labels.numpy(), expected)


@pytest.mark.parametrize("image", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((3, 8, 8), np.uint8)])
def test_the_predictor_refuses_arrays_that_no_file_would_hold(run, image):
    with pytest.raises(DataError, match=r"expected \(H, W, 3\) of uint8, uint16 or float32"):
        Predictor(run)(image)


def as_path(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "given.png")
    return tmp_path / "given.png"


GIVEN = {
    "array": lambda pixels, _: pixels,
    "tensor": lambda pixels, _: torch.from_numpy(pixels),
    "image of Pillow": lambda pixels, _: Image.fromarray(pixels),
    "image with transparency": lambda pixels, _: Image.fromarray(np.dstack([pixels, pixels[..., 0]])),
    "path": as_path,
    "text": lambda pixels, tmp_path: str(as_path(pixels, tmp_path)),
    "floats": lambda pixels, _: pixels.astype(np.float32) / 255,
    "sixteen bits": lambda pixels, _: pixels.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("kind", GIVEN)
def test_model_and_predictor_take_an_image_by_one_door(run, tmp_path, kind):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    model, predictor = load_model(run), Predictor(run)
    given = GIVEN[kind](pixels, tmp_path)
    expected = model.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None])  # it has the training size already
    torch.testing.assert_close(model.preprocess(given), expected, atol=1e-5, rtol=0)
    assert (predictor(given) == predictor(pixels)).mean() > 0.99  # floats round otherwise


@pytest.mark.parametrize("kind", ["array", "image of Pillow", "path"])
def test_a_gray_image_is_repeated_as_its_file_is(run, tmp_path, kind):
    gray = np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)
    expected = load_model(run).preprocess(np.dstack([gray] * 3))
    assert torch.equal(load_model(run).preprocess(GIVEN[kind](gray, tmp_path)), expected)


def test_a_photo_of_pillow_is_turned_upright_as_its_file_is(run, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.arange(3 * 32 * 20, dtype=np.uint8).reshape(32, 20, 3)).save(tmp_path / "a.png", exif=exif)
    preprocess = load_model(run).preprocess
    assert preprocess.pixels(Image.open(tmp_path / "a.png")).shape == (20, 32, 3)
    assert np.array_equal(preprocess.pixels(Image.open(tmp_path / "a.png")), preprocess.pixels(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"channels come first: give image.transpose\(1, 2, 0\)"),
        (torch.zeros(3, 8, 9), r"of a tensor image.permute\(1, 2, 0\)"),
        (np.zeros((1, 8, 9, 3), np.uint8), r"a batch of one: give image\[0\]"),
        (np.zeros((8, 9, 3)), r"give image.astype\('float32'\)"),
        (np.full((8, 9, 3), np.nan, np.float32), "NaN"),
        (np.full((8, 9, 3), 255, np.float32), "float32 up to 255, expected 1 as white; give uint8 pixels"),
    ],
)
def test_both_refuse_alike_what_is_no_image(run, image, said):
    for door in (load_model(run).preprocess, Predictor(run)):
        with pytest.raises(DataError, match=said):
            door(image)


def test_floats_that_shine_or_have_a_range_of_their_own_are_taken(run, caplog):
    model = load_model(run)
    assert model.preprocess(np.full((32, 32, 3), 1.9, np.float32)).shape == (1, 3, 32, 32)
    bright = np.full((32, 32, 3), 255, np.float32)
    model.preprocess.trained_on = "float32"  # whose scale was that of its files
    assert model.preprocess(bright).shape == (1, 3, 32, 32)
    model.preprocess.trained_on = "uint8"
    model.preprocess.normalize = model.normalize.with_range((0, 255))
    assert model.preprocess(bright).shape == (1, 3, 32, 32)
    model.preprocess.normalize, model.preprocess.trained_on = model.normalize, None  # a checkpoint that does not say
    model.preprocess(bright)
    assert "float32 up to 255, expected 1 as white" in caplog.text


def test_a_model_that_was_not_trained_says_that_it_knows_no_size():
    model = create_model("unet", "test_resnet", num_classes=2)
    for call in (
        lambda: model.preprocess(np.zeros((8, 8, 3), np.uint8)),
        lambda: model.preprocess.restore(None, (8, 8)),
    ):
        with pytest.raises(ConfigError, match=r"model.normalize\(batch\).*save_model\(model, file, image_size=...\)"):
            call()


def test_a_model_made_in_python_is_read_by_predict_eval_and_load_model(tmp_path, photo):
    torch.manual_seed(0)
    model = create_model("fpn", "test_resnet", num_classes=5, dropout=0.5).eval()
    file = tmp_path / "model.pt"
    save_model(model, file, class_names=["background", "disc", "square", "triangle", "star"])
    again = load_model(file)
    image = read_image(photo)
    with torch.inference_mode():
        logits = model(model.normalize(torch.from_numpy(image).permute(2, 0, 1)[None]))
        assert torch.equal(again(again.preprocess(image))[..., :50, :75], logits)  # filled up to the least size
    assert np.array_equal(predicted_by_the_command(file, photo), logits.argmax(1)[0].numpy())
    assert again.decoder.dropout.p == 0.5
    assert main(["eval", f"ckpt={file}", "data.test=4", "data.split=test", f"output={tmp_path}"]) == 0


def test_a_saved_model_brings_images_to_the_size_that_was_given(tmp_path, photo):
    model = create_model("unet", "test_resnet", num_classes=1, aux_heads=[16], classification={"num_classes": 3})
    save_model(model, tmp_path / "model.pt", image_size=[32, 64], class_names=["pet"])
    again = load_model(tmp_path / "model.pt")
    assert again.preprocess(read_image(photo)).shape == (1, 3, 32, 64)
    assert (again.class_names, again.image_classes) == (("pet",), ("0", "1", "2"))
    save_model(again, tmp_path / "copy.pt")  # keeps the size that it was opened with
    assert Predictor(tmp_path / "copy.pt")(photo).shape == (50, 75)


def test_a_model_that_cannot_be_saved_is_refused(tmp_path):
    model = create_model("unet", "test_resnet", num_classes=2)
    with pytest.raises(ConfigError, match="3 names, the model predicts 2"):
        save_model(model, tmp_path / "model.pt", class_names=["a", "b", "c"])
    model.config = None
    with pytest.raises(ConfigError, match="expected one of create_model or load_model"):
        save_model(model, tmp_path / "model.pt")


def test_an_image_far_larger_than_those_of_the_training_is_named_with_the_remedy(run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name, side in (("small", 60), ("large", 320)):
        Image.new("RGB", (side, side)).save(tmp_path / "photos" / f"{name}.png")
    words = ["predict", f"ckpt={run}", f"input={tmp_path / 'photos'}", f"output={tmp_path / 'masks'}"]
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "large: 320x320 pixels are shrunk 10.0 times to 32x32, those of the training 1.0 times" in printed
    assert "'data.image_size=[320,320]'" in printed
    assert "small: " not in printed
    assert main([*words, "data.image_size=[320,320]"]) == 0
    assert "shrunk" not in capsys.readouterr().out


def test_an_input_is_never_overwritten(run, photo, refused):
    before = photo.read_bytes()
    (line,) = refused("predict", f"ckpt={run}", f"input={photo}", f"output={photo.parent}")
    assert f"would overwrite {photo}, an input; choose another output=" in line
    assert photo.read_bytes() == before


def test_masks_of_an_earlier_call_are_not_taken_for_photos(run, photo, capsys):
    words = ["predict", f"ckpt={run}", f"input={photo.parent}", f"output={photo.parent / 'masks'}"]
    for said in ("masks of 1 image written", "1 image done already and skipped"):
        assert main(words) == 0
        assert said in capsys.readouterr().out
    written = sorted(path.name for path in (photo.parent / "masks").rglob("*.*"))
    assert written == ["a.jpg", "a.png", "predictions.jsonl"]
