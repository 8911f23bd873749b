import numpy as np
import pytest

from segtrain.data.formats.shapes import Shapes
from segtrain.task import make_task


def test_a_sample_is_a_function_of_seed_split_and_index():
    first, again = Shapes(split="train")[7], Shapes(split="train", train=9, val=1)[7]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    for other in (Shapes(split="val")[7], Shapes(split="train", seed=1)[7], Shapes(split="train")[8]):
        assert not np.array_equal(first.image, other.image)


def test_samples_have_the_layout_of_the_contract():
    source = Shapes(split="test", size=64, test=3)
    sample = source[2]
    assert len(source) == 3
    assert (sample.image.shape, sample.image.dtype) == ((64, 64, 3), np.uint8)
    assert (sample.mask.shape, sample.mask.dtype) == ((64, 64), np.uint8)
    assert sample.id == source.ids[2] == "test-00002"
    assert len(source.palette) == len(make_task(source.mode, source.class_names).label_names)


def test_every_class_is_drawn_often():
    source = Shapes(split="val")
    shares = np.bincount(np.concatenate([source[i].mask.ravel() for i in range(100)]), minlength=5) / (
        100 * source.size**2
    )
    assert len(shares) == len(source.class_names)
    assert 0.5 < shares[0] < 0.95
    assert shares[1:].min() > 0.01


@pytest.fixture(scope="module")
def pixels():
    """Colours and labels of many pixels, as many of each class."""
    source = Shapes(split="train", train=400)
    samples = [source[i] for i in range(400)]
    colours = np.concatenate([sample.image.reshape(-1, 3) for sample in samples]).astype(float)
    labels = np.concatenate([sample.mask.ravel() for sample in samples])
    rng = np.random.default_rng(0)
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == label), 20_000) for label in range(5)])
    return colours[chosen], labels[chosen]


def test_shapes_have_the_same_mean_colour(pixels):
    colours, labels = pixels
    means = np.stack([colours[labels == label].mean(axis=0) for label in range(1, 5)])
    assert np.ptp(means, axis=0).max() < 20  # gray levels of 255


def test_a_classifier_on_colour_cannot_tell_the_shapes_apart(pixels):
    colours, labels = (part[pixels[1] > 0] for part in pixels)
    assert accuracy_of_colour(colours, np.eye(4)[labels - 1]) < 1 / 4 + 0.06


def test_a_classifier_on_colour_mistakes_ground_for_shape_and_back(pixels):
    colours, labels = pixels
    ground = np.flatnonzero(labels == 0)
    balanced = np.concatenate([ground, np.random.default_rng(0).choice(np.flatnonzero(labels), len(ground))])
    assert accuracy_of_colour(colours[balanced], np.eye(2)[(labels[balanced] > 0).astype(int)]) < 0.96


def accuracy_of_colour(colours, one_hot):
    features = np.concatenate([colours, colours**2, np.ones((len(colours), 1))], axis=1)
    weights = np.linalg.lstsq(features, one_hot, rcond=None)[0]
    return ((features @ weights).argmax(axis=1) == one_hot.argmax(axis=1)).mean()
