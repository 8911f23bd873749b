import os
import pickle

import albumentations as A
import numpy as np
import pytest
from PIL import Image

from segtrain.data.loading.transforms import Fitting, Pipeline, apply, resize_image
from segtrain.data.sample import RawSample
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX


@pytest.fixture
def raw():
    rng = np.random.default_rng(0)
    return RawSample(
        rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), rng.integers(0, 3, (60, 80), dtype=np.uint8), "cat"
    )


@pytest.fixture
def pipeline():
    strong = [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.5, 1.5), rotate=(-30, 30), fill_mask=255, p=1),
        A.OneOf([A.GaussianBlur(p=1), A.GaussNoise(p=1)], p=0.8),
        A.ColorJitter(p=0.8),
    ]
    return Pipeline(Fitting("stretch", 48), strong)


def test_a_sample_is_a_function_of_its_seed(pipeline, raw):
    first = apply(pipeline, raw, (3, 1, 4))
    for other in range(5):
        apply(pipeline, raw, (0, 0, other))
    again = apply(pickle.loads(pickle.dumps(pipeline)), raw, (3, 1, 4))
    assert first["image"].equal(again["image"])
    assert first["mask"].equal(again["mask"])
    assert not first["image"].equal(apply(pipeline, raw, (3, 2, 4))["image"])


def test_transforms_draw_independently_of_each_other(raw):
    pipeline = Pipeline(Fitting("stretch", 80), [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    fitted = pipeline.fitting(raw)
    seen = set()
    for index in range(40):
        mask = pipeline.augment(fitted, (0, 0, index)).mask
        flips = [np.array_equal(mask[::v, ::h], fitted.mask) for v in (1, -1) for h in (1, -1)]
        seen.add(tuple(flips))
    assert len(seen) == 4


def test_augmenting_leaves_the_fitted_pair_alone(pipeline, raw):
    fitted = pipeline.fitting(raw)
    before = fitted.image.copy(), fitted.mask.copy()
    for index in range(10):
        pipeline.augment(fitted, (0, 0, index))
    assert np.array_equal(fitted.image, before[0])
    assert np.array_equal(fitted.mask, before[1])


def test_global_random_numbers_are_neither_used_nor_changed(pipeline, raw):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = apply(pipeline, raw, (0, 0, 0))
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(1)
    assert first["image"].equal(apply(pipeline, raw, (0, 0, 0))["image"])


def test_corners_that_open_are_ignored(raw):
    pipeline = Pipeline(Fitting("stretch", 64), [A.Affine(rotate=(45, 45), fill_mask=255, p=1)])
    mask = apply(pipeline, raw, (0, 0, 0))["mask"]
    assert mask[0, 0] == mask[-1, -1] == IGNORE_INDEX
    assert set(mask.unique().tolist()) == {0, 1, 2, IGNORE_INDEX}


def test_a_pipeline_without_transforms_fits_and_does_nothing_else(raw):
    mask = apply(Pipeline(Fitting("stretch", 80)), raw, (0,))["mask"]
    assert np.array_equal(mask, Fitting("stretch", 80).mask(raw.mask))


def test_tensors_are_views_in_channels_last_order(raw):
    image = apply(Pipeline(Fitting("stretch", (60, 80))), raw, (0,))["image"]
    assert image.shape == (3, 60, 80)
    assert image.stride() == (1, 240, 3)


@pytest.mark.parametrize("size", [32, (32, 100), [100, 32]])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_fitting_yields_exactly_the_image_size(raw, size, fit, channels):
    expected = (size, size) if isinstance(size, int) else tuple(size)
    fitting = Fitting(fit, size)
    image = np.repeat(raw.image[..., :1], channels, axis=2)
    assert fitting.image(image).shape == (*expected, channels)
    assert fitting.mask(raw.mask).shape == expected


def test_padding_keeps_proportions_and_is_ignored(raw):
    mask = Fitting("pad", 40).mask(raw.mask)
    assert (mask[30:] == IGNORE_INDEX).all()
    assert (mask[:30] != IGNORE_INDEX).all()
    assert (Fitting("pad", 40).image(raw.image)[30:] == 0).all()


def test_without_fitting_images_keep_their_size_but_grow_to_the_image_size(raw):
    assert Fitting("none", None).mask(raw.mask).shape == (60, 80)
    assert Fitting("none", 70).mask(raw.mask).shape == (70, 80)


def test_masks_stay_aligned_with_their_images():
    mask = np.zeros((90, 90), np.uint8)
    mask[30:60, 12:50] = 1
    image = np.repeat(mask[..., None] * 255, 3, axis=2)
    for size in (30, 64, 200):
        fitting = Fitting("stretch", size)
        edges = (fitting.image(image)[..., 0] > 127) != fitting.mask(mask)
        assert edges.sum() <= 4, size  # the corners, where an average of a quarter is not half


def test_a_missing_image_size_is_a_config_error():
    with pytest.raises(ConfigError, match=r"data\.image_size: null, but data\.fit=pad .*data\.image_size=256"):
        Fitting("pad", None)


def test_albumentations_is_kept_from_calling_home():
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


@pytest.mark.parametrize(("own", "size"), [((61, 83), (32, 32)), ((61, 83), (32, 100)), ((20, 30), (41, 64))])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_images_of_8_bits_are_resized_as_pillow_does(own, size, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*own, channels), dtype=np.uint8)
    found = resize_image(pixels, size)
    bands = [
        Image.fromarray(pixels[..., band]).resize(size[::-1], Image.Resampling.BILINEAR) for band in range(channels)
    ]
    assert np.abs(found.astype(int) - np.stack(bands, axis=2)).max() <= 1, "but for the rounding of half a value"


def test_area_is_the_average_of_the_pixels_in_an_area():
    pixels = np.array([[0, 2], [4, 6]], np.uint8)[..., None]
    assert resize_image(pixels, (1, 1), "area").item() == 3


def test_read_only_and_mirrored_pixels_are_resized_without_a_warning(recwarn):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = resize_image(pixels[:, ::-1].copy(), (8, 8))
    pixels.setflags(write=False)
    np.testing.assert_array_equal(resize_image(pixels[:, ::-1], (8, 8)), expected)
    assert not recwarn.list
