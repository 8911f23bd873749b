"""Images that are shrunk far more than those of the training are told, with the size that would be right."""

import numpy as np
import pytest

from segtrain.data.loading.scale import TrainingScale, shrinkage, typical_size
from segtrain.data.loading.transforms import Fitting
from segtrain.data.sample import RawSample


class Photos:
    """Images that are higher and higher, and 10 pixels wide."""

    def __len__(self):
        return 19

    def __getitem__(self, index):
        return RawSample(np.zeros((index + 1, 10, 3), np.uint8), np.zeros((index + 1, 10), np.uint8), str(index))


def test_the_typical_size_is_the_median_of_a_spread_few():
    # 9 of 19, spread evenly, are the numbers 0 2 4 6 8 10 12 14 16; the middle one has 9 rows
    assert typical_size(Photos()) == (9, 10)


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [("pad", (64, 64), 2.0), ("pad", (64, 128), 4.0), ("stretch", (32, 128), 2.0), ("none", (640, 640), 1.0)],
)
def test_shrinkage_is_per_side(fit, size, expected):
    assert shrinkage(Fitting(fit, 32), size) == pytest.approx(expected)


def test_four_times_more_than_in_training_is_too_much_and_the_remedy_is_the_trainings_scale():
    scale = TrainingScale(Fitting("pad", 32), usual=2.0)
    assert scale.problem((248, 248)) is None
    problem = scale.problem((320, 320))
    assert problem.startswith("320x320 pixels are shrunk 10.0 times to 32x32, those of the training 2.0 times")
    assert "'data.image_size=[160,160]'" in problem
    assert list(scale.problems(["a", "b"], [(32, 32), (320, 320)])) == ["b"]


def test_where_the_training_is_not_known_eight_times_is_too_much():
    scale = TrainingScale(Fitting("pad", 32), usual=None)
    assert scale.problem((255, 255)) is None
    assert "those of the training" not in scale.problem((256, 256))


def test_images_that_no_model_can_take_at_once_are_to_be_cut():
    assert "cut such images into pieces" in TrainingScale(Fitting("pad", 32), usual=1.0).problem((5000, 5000))
