import numpy as np
import pytest

from segtrain.data.class_index import read_index
from segtrain.data.loading.augment import Augment
from segtrain.data.loading.composition import Composition, refuse_mixed_labels
from segtrain.data.loading.transforms import Fitting
from segtrain.data.sample import RawSample, Source
from segtrain.errors import ConfigError, DataError

SIDE = 32
IMAGES = 6


class Painted(Source):
    """Images that say of each pixel which image it is of, and its label: ``[number, label, label]``.

    Every image is of class 0, with a square of class 1, and one pixel of class 2 in the last.
    """

    class_names = ("ground", "square", "dot")
    ids = tuple(f"image{number}" for number in range(IMAGES))

    def __init__(self, *, overlap=False, dtype=np.uint8):
        self.overlap, self.dtype = overlap, dtype

    def __getitem__(self, index):
        mask = np.zeros((40, 60), np.uint8)
        mask[3 + index : 8 + index, 20 : 26 + index] = 1
        mask[39, 59] = 2 if index == IMAGES - 1 else 0
        image = np.stack([np.full_like(mask, index), mask, mask], axis=2).astype(self.dtype)
        planes = np.stack([mask == label for label in range(3)]).astype(np.uint8)
        return RawSample(image, planes if self.overlap else mask, self.ids[index])


def compose(source=None, fit="none", **options):
    source = source or Painted()
    fitting = Fitting(fit, SIDE)
    composition = Composition(Augment(**options), fitting, length=IMAGES, index=read_index(source))
    return lambda index, seed: composition(index, np.random.default_rng(seed), lambda i: fitting(source[i]))


OPTIONS = [{"mosaic": 1.0}, {"cutmix": 1.0}, {"copy_paste": 1.0}, {"mosaic": 0.5, "cutmix": 0.5, "copy_paste": 0.5}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("overlap", [False, True])
def test_every_pixel_keeps_its_own_label_whatever_it_is_mixed_with(options, overlap):
    make, mixed = compose(Painted(overlap=overlap), **options), 0
    for seed in range(40):
        image, mask, name = make(seed % IMAGES, seed)
        assert image.shape == (SIDE, SIDE, 3)
        labels = mask.argmax(0) if overlap else mask
        assert not overlap or (mask.sum(0) == 1).all()
        assert np.array_equal(labels, image[..., 1])
        assert name == f"image{seed % IMAGES}"
        mixed += len(np.unique(image[..., 0])) > 1
    assert mixed > 20


def test_a_mosaic_has_its_own_image_in_one_corner_and_others_in_the_rest():
    make, corners = compose(mosaic=1.0), [0] * 4
    for seed in range(80):
        found = make(2, seed).image[..., 0]
        for corner, value in enumerate((found[0, 0], found[0, -1], found[-1, 0], found[-1, -1])):
            corners[corner] += value == 2
    assert min(corners) > 15  # a quarter of 80, and sometimes by chance


def test_cutmix_covers_a_rectangle_of_any_size_and_half_the_image_on_average():
    make, shares = compose(cutmix=1.0), []
    for seed in range(200):
        other = make(0, seed).image[..., 0] > 0
        if other.any():
            rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
            assert other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            shares.append(other.mean())
    assert min(shares) < 0.1
    assert max(shares) > 0.9
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def test_copy_paste_adds_pixels_of_rare_classes_and_no_others():
    make, pasted = compose(copy_paste=1.0), set()
    for seed in range(60):
        image, mask, _ = make(0, seed)
        foreign = image[..., 0] > 0
        pasted |= set(np.unique(mask[foreign]).tolist())
    assert pasted == {1, 2}


def test_crops_around_rare_classes_hold_one():
    def with_one(**options):
        make = compose(**options)
        return sum(make(index, seed).mask.max() > 0 for index in range(IMAGES) for seed in range(20))

    assert with_one(rare_crops=1.0) == 20 * IMAGES
    assert with_one(rare_crops=0.5) < 20 * IMAGES


@pytest.mark.parametrize("fit", ["stretch", "pad", "none"])
def test_a_place_is_found_however_the_image_was_fitted(fit):
    class Sharp(Painted):
        def __getitem__(self, index):
            mask = np.zeros((400, 600), np.uint8)
            mask[200 + 20 * index : 260 + 20 * index, 500:560] = 1  # stays some pixels wide
            return RawSample(np.zeros((400, 600, 3), np.uint8), mask, self.ids[index])

    def share_with_it(**options):
        make = compose(Sharp(), fit=fit, scale=(4.0, 4.0), **options)
        return np.mean([(make(index, seed).mask == 1).any() for index in range(IMAGES) for seed in range(20)])

    # at its edge, a pixel of the fitted mask may show what is beside it
    assert share_with_it(rare_crops=1.0) > 0.9
    assert share_with_it() < 0.4


def test_a_composition_is_a_function_of_its_generator():
    make = compose(scale=(0.5, 2.0), mosaic=0.5, cutmix=0.5, copy_paste=0.5, rare_crops=0.5)
    for seed in range(10):
        first, again, other = make(1, seed), make(1, seed), make(1, seed + 1)
        assert np.array_equal(first.image, again.image)
        assert np.array_equal(first.mask, again.mask)
        assert not np.array_equal(first.image, other.image)


def test_images_of_different_types_are_not_mixed():
    class Odd(Painted):
        def __getitem__(self, index):
            raw = super().__getitem__(index)
            return raw._replace(image=raw.image.astype(np.uint16)) if index == 3 else raw

    make = compose(Odd(), mosaic=1.0)
    with pytest.raises(DataError, match=r"uint16 with 3 channels, cannot be mixed .* set augment\.mosaic=0"):
        _ = [make(0, seed) for seed in range(20)]


def test_images_with_labels_of_their_own_are_not_mixed():
    refuse_mixed_labels(Augment(rare_crops=0.5))
    with pytest.raises(ConfigError, match=r"label for each whole image.*augment\.cutmix=0"):
        refuse_mixed_labels(Augment(cutmix=0.1))
