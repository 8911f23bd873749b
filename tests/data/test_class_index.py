import numpy as np
import pytest

from segtrain.data.class_index import PLACES, class_index, read_index
from segtrain.data.sample import RawSample, Source


class Masks(Source):
    class_names = ("road", "car", "sign")

    def __init__(self, masks, fingerprint=None):
        self.masks = [np.asarray(mask, np.uint8) for mask in masks]
        self.ids = tuple(map(str, range(len(masks))))
        self.reads, self._fingerprint = 0, fingerprint

    def __getitem__(self, index):
        self.reads += 1
        mask = self.masks[index]
        return RawSample(np.zeros((*mask.shape[-2:], 3), np.uint8), mask, self.ids[index])

    def fingerprint(self):
        return self._fingerprint


ROAD = np.zeros((10, 20), np.uint8)
CAR = ROAD.copy()
CAR[2:4, 5:9] = 1
SIGN = CAR.copy()
SIGN[9, 19], SIGN[0] = 2, 255


@pytest.fixture
def index():
    return read_index(Masks([ROAD, CAR, SIGN]))


def test_it_knows_which_labels_each_image_has_and_how_many_pixels(index):
    assert index.rows.image.tolist() == [0, 1, 1, 2, 2, 2]
    assert index.rows.label.tolist() == [0, 0, 1, 0, 1, 2]
    assert index.rows.pixels.tolist() == [200, 192, 8, 171, 8, 1]
    assert index.sizes.tolist() == [[10, 20]] * 3


def test_rare_are_labels_with_fewer_pixels_than_the_mean(index):
    assert index.rare.tolist() == [1, 2]


@pytest.mark.parametrize("size", [(10, 20), (100, 200), (37, 91), (2160, 4093)])
def test_a_place_holds_its_label_at_the_size_of_the_mask(size):
    rng = np.random.default_rng(0)
    mask = (rng.random(size) < 0.001).astype(np.uint8)
    mask[0, 0] = mask[-1, -1] = 1
    index = read_index(Masks([mask]))
    seen = set()
    for seed in range(60):
        found = index.rare_place_in(0, np.random.default_rng(seed))
        row, column = int(found.row * size[0]), int(found.column * size[1])
        assert mask[row, column] == 1
        seen.add((row, column))
    assert 2 <= len(seen) <= PLACES


def test_a_rare_label_is_drawn_within_an_image_the_rarer_the_likelier(index):
    draws = [index.rare_place_in(2, np.random.default_rng(seed)) for seed in range(400)]
    labels = [SIGN[int(found.row * 10), int(found.column * 20)] for found in draws]
    # by 1 / sqrt(share): a sign has 1 pixel in all, cars have 16
    assert set(labels) == {1, 2}
    assert np.mean(np.array(labels) == 2) == pytest.approx(4 / 5, abs=0.05)
    assert index.rare_place_in(0, np.random.default_rng(0)) is None


def test_a_rare_label_is_drawn_anywhere_and_then_an_image_that_has_it(index):
    drawn = [index.rare_place(np.random.default_rng(seed)) for seed in range(100)]
    assert {label: {found.image for drawn_label, found in drawn if drawn_label == label} for label in (1, 2)} == {
        1: {1, 2},
        2: {2},
    }


def test_balanced_weights_draw_each_label_as_often(index):
    # a third of the draws for each label: among 3, 2 and 1 images
    assert index.balanced_weights() == pytest.approx([1 / 9, 1 / 9 + 1 / 6, 1 / 9 + 1 / 6 + 1 / 3])


def test_a_subset_is_numbered_in_its_own_order(index):
    part = index.subset([2, 0])
    assert part.rows.image.tolist() == [0, 0, 0, 1]
    assert part.rows.label.tolist() == [0, 1, 2, 0]
    assert part.rows.places.tolist() == [index.rows.places[row].tolist() for row in (3, 4, 5, 0)]
    assert part.rare_place_in(1, np.random.default_rng(0)) is None


def test_of_overlapping_classes_a_pixel_without_any_is_label_0():
    index = read_index(Masks([np.stack([ROAD, CAR, SIGN == 2])]))
    assert index.rows.label.tolist() == [0, 2, 3]
    assert index.rows.pixels.tolist() == [200 - 8 - 1, 8, 1]


def test_masks_without_a_valid_pixel_are_in_no_row_and_have_no_weight():
    index = read_index(Masks([np.full((4, 4), 255), ROAD]))
    assert index.rows.image.tolist() == [1]
    assert index.balanced_weights().tolist() == [0, 1]


def test_it_is_read_once_until_a_mask_changes(index):
    first = Masks([ROAD, CAR, SIGN], fingerprint="a")
    made = class_index(first)
    again = Masks([ROAD, CAR, SIGN], fingerprint="a")
    kept = class_index(again)
    assert (first.reads, again.reads) == (3, 0)
    assert all(np.array_equal(a, b) for a, b in zip(made.rows, kept.rows, strict=True))
    assert np.array_equal(made.sizes, kept.sizes)
    changed = Masks([ROAD], fingerprint="b")
    assert class_index(changed).rows.image.tolist() == [0]
    assert changed.reads == 1


def test_data_that_cannot_tell_whether_it_changed_is_read_every_time():
    source = Masks([ROAD])
    class_index(source)
    class_index(source)
    assert source.reads == 2
