"""Sizes and batches for a memory, with needs that are known beforehand."""

import pytest

from segtrain.build.tuning.fitting import ladder, last_that_fits, least_batch, own_size, predicted
from segtrain.data.formats.shapes import Shapes


class Needs:
    def __init__(self, needs, *, machine=10**9):
        self.needs, self.machine, self.measured = needs, machine, []

    def __call__(self, number):
        self.measured.append(number)
        need = self.needs[number]
        return need if need <= self.machine else None


def test_sizes_are_multiples_of_32_up_to_the_data_s_own():
    assert ladder(256, (375, 500)) == [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352]
    assert ladder([128, 256], (200, 400)) == [[32, 64], [64, 128], [96, 192], [128, 256], [160, 320], [192, 384]]
    assert ladder([128, 256], (200, 300)) == [[32, 64], [64, 128], [96, 192], [128, 256]]


def test_data_smaller_than_32_pixels_keeps_its_size():
    assert ladder(24, (28, 28)) == [24]


def test_the_own_size_is_that_of_the_images():
    assert own_size(Shapes(split="val", size=48, val=3)) == (48, 48)


def test_parts_of_a_batch_have_four_images_where_statistics_are_taken_over_them():
    assert least_batch(16, normalised=True) == 4
    assert least_batch(16, normalised=False) == 1
    assert least_batch(2, normalised=True) == 2
    assert least_batch(7, normalised=True) == 7  # nothing but 1 divides it


def test_with_estimates_that_are_right_but_for_a_constant_two_are_measured():
    estimates = [10.0 * number for number in range(1, 21)]
    needs = Needs([estimate + 55 for estimate in estimates])
    assert last_that_fits(estimates, needs, limit=158) == 9  # 100 + 55
    assert needs.measured == [14, 9]  # the estimate alone says 150 would do


def test_with_estimates_that_are_half_of_the_need_it_is_still_the_last_that_fits():
    estimates = [10.0 * number for number in range(1, 21)]
    needs = Needs([55 + 2 * estimate for estimate in estimates])
    found = last_that_fits(estimates, needs, limit=158)
    assert found == 4  # 50 * 2 + 55
    assert len(needs.measured) <= 4


def test_what_the_machine_cannot_measure_is_too_much():
    estimates = [1.0, 2.0, 3.0]
    needs = Needs([10, 20, 30], machine=15)
    assert last_that_fits(estimates, needs, limit=25) == 0
    assert needs.measured == [2, 1, 0]


def test_nothing_fits_only_after_the_least_was_measured():
    needs = Needs([30, 40])
    assert last_that_fits([100.0, 200.0], needs, limit=20) is None
    assert needs.measured == [0]
    assert last_that_fits([100.0, 200.0], Needs([10, 30]), limit=20) == 0


def test_predictions_go_through_what_was_measured():
    assert predicted(5, []) == 5
    assert predicted(5, [(3, 13)]) == 15
    assert predicted(6, [(2, 10), (4, 20)]) == pytest.approx(30)
    assert predicted(9, [(2, 10), (4, 20), (8, 100)]) == pytest.approx(120)
