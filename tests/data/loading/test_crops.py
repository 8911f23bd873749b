import numpy as np
import pytest

from segtrain.data.loading.crops import Crop, largest_share
from segtrain.data.sample import RawSample
from segtrain.task import IGNORE_INDEX


def numbered(height, width, classes=None):
    """A sample whose image says where each pixel comes from, in rows and columns, and whose mask follows from it."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows], axis=2).astype(np.float32)
    mask = label_of(rows, columns)
    if classes:
        mask = np.stack([(mask == label).astype(np.uint8) for label in range(classes)])
    return RawSample(image, mask, "a")


def label_of(rows, columns):
    return (rows // 10 % 2 + 2 * (columns // 10 % 2)).astype(np.uint8)


def draw(crop, raw, seed, **options):
    return crop(raw, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("classes", [None, 4])
def test_an_unscaled_crop_is_a_cut_of_image_and_mask_at_one_place(classes):
    raw, starts = numbered(60, 80, classes), set()
    for seed in range(30):
        image, mask, name = draw(Crop((20, 30)), raw, seed)
        top, left = image[0, 0, :2].astype(int)
        starts.add((top, left))
        assert np.array_equal(image, raw.image[top : top + 20, left : left + 30])
        assert np.array_equal(mask, raw.mask[..., top : top + 20, left : left + 30])
        assert name == "a"
    assert len(starts) > 20


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.7, 3.0])
def test_a_scaled_crop_has_at_every_pixel_the_label_of_the_place_that_the_image_shows(factor):
    raw = numbered(120, 160)
    for seed in range(10):
        image, mask, _ = draw(Crop((48, 64), (factor, factor)), raw, seed)
        valid = mask != IGNORE_INDEX
        places = image[..., :2][valid]  # between two pixels, as interpolation has it
        inside = (np.abs(places % 10 - 4.5) < 4).all(-1)  # not where the nearest label may be either side's
        assert inside.mean() > 0.3
        assert np.array_equal(mask[valid][inside], label_of(*places[inside].astype(int).T))


def test_a_scaled_crop_shows_the_image_at_that_scale():
    image, _, _ = draw(Crop((40, 40), (2.0, 2.0)), numbered(60, 80), 0)
    assert np.allclose(np.diff(image[1:-1, 5, 0]), 0.5)
    image, _, _ = draw(Crop((20, 20), (0.5, 0.5)), numbered(60, 80), 0)
    assert np.allclose(np.diff(image[5, :, 1]), 2)


@pytest.mark.parametrize("classes", [None, 4])
def test_what_is_smaller_than_the_crop_lies_in_it_whole_on_ignored_pixels(classes):
    raw, places = numbered(10, 12, classes), set()
    for seed in range(20):
        image, mask, _ = draw(Crop((16, 16)), raw, seed)
        known = (mask != IGNORE_INDEX).reshape(-1, 16, 16)[0]
        top, left = np.argwhere(known)[0]
        places.add((top, left))
        assert known.sum() == 120
        assert np.array_equal(mask[..., top : top + 10, left : left + 12], raw.mask)
        assert np.array_equal(image[top : top + 10, left : left + 12], raw.image)
        assert (image[~known] == 0).all()
        assert (mask[..., ~known] == IGNORE_INDEX).all()
    assert len(places) > 5


def test_scales_are_drawn_from_all_of_their_range():
    raw = numbered(200, 200)
    scales = [1 / np.diff(draw(Crop((16, 16), (0.5, 2.0)), raw, seed).image[4:12, 8, 0]).mean() for seed in range(60)]
    assert 0.5 <= min(scales) < 0.7
    assert 1.8 < max(scales) <= 2.01


def half_and_half():
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 80:] = 1
    return RawSample(np.zeros((100, 100, 3), np.uint8), mask, "a")


def test_crops_of_one_class_only_are_drawn_again():
    raw = half_and_half()
    uniform = sum(largest_share(draw(Crop((40, 40)), raw, seed).mask) == 1 for seed in range(60))
    tried = [largest_share(draw(Crop((40, 40), cat_max_ratio=0.9), raw, seed).mask) for seed in range(60)]
    assert uniform > 30  # two of three
    assert sum(share > 0.9 for share in tried) < 8  # three of four, to the tenth power


def test_an_image_of_one_class_gives_a_crop_all_the_same():
    raw = half_and_half()._replace(mask=np.ones((100, 100), np.uint8))
    assert (draw(Crop((20, 20), cat_max_ratio=0.5), raw, 0).mask == 1).all()


def test_a_crop_around_a_pixel_holds_it_wherever_it_lies():
    raw = numbered(60, 80)
    for seed, around in enumerate([(0, 0), (59, 79), (30, 2), (7, 70)] * 5):
        image = draw(Crop((16, 20), (0.8, 1.6)), raw, seed, around=around).image
        assert (np.abs(image[..., :2] - around).max(-1) <= 1).any()


def test_crops_leave_their_sample_alone():
    raw = numbered(20, 20)
    result = draw(Crop((20, 20)), raw, 0)
    assert not np.shares_memory(result.image, raw.image)
    assert not np.shares_memory(result.mask, raw.mask)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_any_dtype_and_number_of_channels_is_cropped(dtype, channels):
    raw = RawSample(np.ones((30, 40, channels), dtype), np.zeros((30, 40), np.uint8), "a")
    image = draw(Crop((16, 16), (0.6, 0.6)), raw, 0).image
    assert (image.shape, image.dtype) == ((16, 16, channels), dtype)


def test_the_largest_share_is_of_valid_pixels():
    mask = np.array([[0, 0, 0, 1], [255, 255, 255, 255]], np.uint8)
    assert largest_share(mask) == 0.75
    assert largest_share(np.full((4, 4), 255, np.uint8)) == 1
    planes = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]]], np.uint8)  # a quarter each, half without any class
    assert largest_share(planes) == 0.5
