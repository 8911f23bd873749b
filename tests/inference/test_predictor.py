"""From an image to its label map: fitted, run, and brought back to the image's own size."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segtrain.data.formats.folder import Folder
from segtrain.data.loading.dataset import AugmentedDataset, OwnSizeDataset
from segtrain.data.loading.scale import TrainingScale
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.errors import DataError
from segtrain.inference.network import Network
from segtrain.inference.predictor import ImagePredictor, Preprocess
from segtrain.models import Normalize
from segtrain.runtime.device import Runtime
from segtrain.task import Binary, Multiclass, Multilabel


class Brightest(nn.Module):
    """A model whose logits are the normalised channels themselves, so that the brightest one is the label."""

    in_channels = 3

    def __init__(self):
        super().__init__()
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)

    def forward(self, images):
        return images


def make_predictor(task, *, fit="pad", size=16, **options):
    model, fitting = Brightest().eval(), Fitting(fit, size)
    return ImagePredictor(
        Network(model, Runtime(torch.device("cpu"), "fp32")),
        task=task,
        preprocess=Preprocess(fitting, model.normalize),
        palette=[(0, 0, 0)] * 3,
        scale=TrainingScale(fitting, 1.0),
        **options,
    )


@pytest.fixture
def thirds():
    """An image of 8 x 12 pixels: a red, a green and a blue third, from left to right."""
    image = np.zeros((8, 12, 3), np.uint8)
    for channel in range(3):
        image[:, 4 * channel : 4 * channel + 4, channel] = 255
    return image


def test_labels_have_the_size_of_the_image_and_stand_where_its_pixels_do(thirds):
    labels = make_predictor(Multiclass(["red", "green", "blue"])).predict(thirds)
    assert (labels.shape, labels.dtype) == ((8, 12), np.uint8)
    assert labels.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 8


def test_classes_that_overlap_have_a_mask_each(thirds):
    labels = make_predictor(Multilabel(["red", "green", "blue"])).predict(thirds)
    assert labels.shape == (3, 8, 12)
    assert labels.transpose(1, 2, 0).tolist() == (thirds > 0).astype(int).tolist()


@pytest.mark.parametrize("fit", ["pad", "stretch", "none"])
def test_logits_come_back_to_the_images_own_size(thirds, fit):
    logits = make_predictor(Multiclass(["red", "green", "blue"]), fit=fit).logits(thirds)
    assert (logits.shape, logits.dtype) == ((1, 3, 8, 12), torch.float32)
    inner = logits[0, :, 3:5, [1, 5, 9]].argmax(0)  # in the middle of each third, where no resizing reaches
    assert inner.tolist() == [[0, 1, 2]] * 2


def test_preprocessing_gives_a_batch_of_one_and_fitting_keeps_the_type(thirds):
    preprocess = make_predictor(Binary()).preprocess
    fitted = preprocess.fitted(thirds)
    assert (fitted.shape, fitted.dtype) == ((1, 3, 16, 16), torch.uint8)
    batch = preprocess(thirds)
    assert (batch.shape, batch.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (float(batch.min()), float(batch.max())) == (-1.0, 1.0)


def test_a_file_of_too_many_pixels_is_refused(tmp_path, thirds):
    Image.fromarray(thirds).save(tmp_path / "rgb.png")
    fitting, normalize = Fitting("none", 8), Normalize([0.5] * 3, [0.5] * 3)
    preprocess = Preprocess(fitting, normalize, max_pixels=96)
    assert np.array_equal(preprocess.pixels(tmp_path / "rgb.png"), thirds)
    with pytest.raises(DataError, match=r"rgb\.png: 12x8 pixels, expected at most 95"):
        Preprocess(fitting, normalize, max_pixels=95).pixels(tmp_path / "rgb.png")


def test_the_model_sees_a_large_photo_as_training_does_and_labels_have_its_size(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((280, 200), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=60)
    Image.fromarray(np.zeros((200, 280), np.uint8)).save(tmp_path / "a.png")
    predictor = make_predictor(Multiclass(["red", "green", "blue"]), fit="stretch", size=24)
    preprocess = predictor.preprocess
    pixels = preprocess.pixels(tmp_path / "a.jpg")
    reduced = preprocess.reduced(tmp_path / "a.jpg", pixels)
    assert pixels.shape == (200, 280, 3)
    assert reduced.shape == (25, 35, 3)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "images/a.jpg")
    (tmp_path / "a.png").rename(tmp_path / "masks/a.png")
    source = Folder(split="all", root=str(tmp_path), classes=["a", "b"])
    trained = AugmentedDataset(source, Pipeline(preprocess.fitting), seed=0)[0, 0]["image"]
    scored = OwnSizeDataset(source, Pipeline(preprocess.fitting), seed=0)[0, 0]
    assert preprocess.fitted(pixels, reduced)[0].equal(trained)
    assert scored["image"].equal(trained)
    assert scored["truth"].shape == (200, 280)
    assert not preprocess.fitted(pixels)[0].equal(trained)
    assert preprocess(tmp_path / "images/a.jpg")[0].equal(preprocess.normalize(trained[None])[0])
    assert predictor.predict(pixels, reduced).shape == (200, 280)


def test_images_that_are_no_photos_or_hardly_larger_are_not_reduced(tmp_path, thirds):
    preprocess = make_predictor(Multiclass(["red", "green", "blue"])).preprocess
    Image.fromarray(thirds).resize((240, 160)).save(tmp_path / "a.png")
    Image.fromarray(thirds).resize((24, 16)).save(tmp_path / "a.jpg")
    for name in ("a.png", "a.jpg"):
        assert preprocess.reduced(tmp_path / name, preprocess.pixels(tmp_path / name)) is None
    assert preprocess.reduced(thirds, thirds) is None


@pytest.mark.parametrize("task", [Binary(["a"]), Multiclass(["a", "b", "c"]), Multilabel(["a", "b", "c"])])
def test_labels_of_a_large_image_are_decided_in_parts_as_they_would_be_as_a_whole(task, monkeypatch):
    predictor = make_predictor(task)
    logits = torch.randn(1, task.out_channels, 50, 30, generator=torch.Generator().manual_seed(0))
    whole = predictor.labels(logits)
    assert len(np.unique(whole)) > 1
    monkeypatch.setattr("segtrain.inference.predictor._AT_ONCE", 100)  # three rows of 30, and two at the end
    assert np.array_equal(predictor.labels(logits), whole)
    assert np.array_equal(whole, task.predict(logits)[0].numpy())
