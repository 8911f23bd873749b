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


def test_the_predictor_gives_the_pixels_of_the_command(run, photo):
    expected = predicted_by_the_command(run, photo)
    predictor = Predictor(run)
    assert predictor.class_names == ("background", "disc", "square", "triangle", "star")
    assert np.array_equal(predictor(read_image(photo)), expected)
    assert np.array_equal(predictor(photo), expected)
    assert len(np.unique(expected)) > 1


def test_a_loaded_model_carries_its_preprocessing(run, photo):
    expected = predicted_by_the_command(run, photo, "precision=fp32")
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
    assert np.array_equal(predicted_by_the_command(file, photo, "precision=fp32"), logits.argmax(1)[0].numpy())
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
    for _ in range(2):
        assert main(words) == 0
        assert "masks of 1 images written" in capsys.readouterr().out
    assert sorted(path.name for path in (photo.parent / "masks").rglob("*.*")) == ["a.jpg", "a.png"]
