"""The closer look: cells by size and distance with their intervals, and the choice of images to draw."""

import pytest
import torch

from segtrain.evaluation.closer_look import CloserLook, extremes
from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.metrics import Counts, count
from segtrain.task import Binary
from tests.metrics.cases import counts_of


def square(side, *, at=10):
    maps = torch.zeros(1, 48, 48, dtype=torch.int64)
    maps[:, at : at + side, at : at + side] = 1
    return maps


@pytest.fixture
def look():
    """Four images: squares of 8 that are found in half, squares of 20 that are found."""
    closer = CloserLook(Binary(), OperatingPoint(), suspects=5)
    for name, side in (("a", 8), ("b", 8), ("c", 20), ("d", 20)):
        truth = square(side)
        said = truth.clone()
        if side == 8:
            said[:, 14:] = 0
        closer.update(9.0 * (2.0 * said[:, None] - 1), said, truth, [name])
    return closer


def test_objects_are_grouped_by_size_with_their_numbers(look):
    found = look.result(replicates=50, confidence=0.9)
    small, middle, *rest = found["by_size"]["foreground"]
    assert (small["iou"], small["support"], small["interval"]) == (0.5, 2, [0.5, 0.5])
    assert (middle["iou"], middle["support"]) == (1.0, 2)
    assert [(cell["iou"], cell["support"], cell["interval"]) for cell in rest] == [(None, 0, None)] * 3


def test_bands_hold_all_pixels_of_the_class(look):
    cells = look.result(replicates=0, confidence=0.9)["by_distance"]["foreground"]
    assert sum(cell["support"] for cell in cells) == 2 * 8**2 + 2 * 20**2
    assert {cell["interval"] for cell in cells} == {None}
    assert 0 < cells[0]["iou"] < 1
    assert cells[3]["iou"] == 1.0  # 9 to 16 pixels from the contour


def test_what_the_model_is_sure_of_is_among_the_suspects(look):
    suspects = look.result(replicates=0, confidence=0.9)["suspects"]
    assert {row["id"] for row in suspects} == {"a", "b"}
    assert {(row["given"], row["predicted"]) for row in suspects} == {("foreground", "background")}


def test_a_temperature_takes_sureness_away():
    truth, said = square(8), torch.zeros(1, 48, 48, dtype=torch.int64)
    closer = CloserLook(Binary(), OperatingPoint(temperature=20.0), suspects=5)
    closer.update(9.0 * (2.0 * said[:, None] - 1), said, truth, ["a"])
    assert closer.suspects.ranked() == []


def found_of(*rows):
    """Counts of one class from rows of tp, fp and fn."""
    tp, fp, fn = (torch.tensor(column)[:, None] for column in zip(*rows, strict=True))
    return counts_of(tp, fp, fn, torch.full_like(tp, 100))


def test_the_worst_and_the_best_images_are_in_order_and_none_is_both():
    counts = found_of((9, 1, 0), (0, 0, 0), (0, 5, 0), (5, 5, 0), (0, 9, 0), (10, 0, 0))
    shown = extremes(counts, "abcdef", ["cat"], each=2, classes=9)
    assert [(each.kind, each.id) for each in shown] == [("worst", "e"), ("worst", "c"), ("best", "f"), ("best", "a")]
    assert (shown[0].iou, shown[0].fp, shown[0].fn) == (0.0, 9, 0)


def test_few_images_are_shared_out():
    shown = extremes(found_of((9, 1, 0), (0, 5, 0)), "ab", ["cat"], each=4, classes=9)
    assert [(each.kind, each.id) for each in shown] == [("worst", "b"), ("best", "a")]


def test_of_many_classes_the_lowest_are_drawn():
    truth = torch.randint(4, (3, 9, 9), generator=torch.Generator().manual_seed(0))
    said = truth.clone()
    said[truth == 2] = 0  # class 2 is never found, class 0 has too much
    counts: Counts = count(said, truth, mode="multiclass", num_classes=4)
    shown = extremes(counts, "abc", ["w", "x", "y", "z"], each=1, classes=2)
    assert {each.class_name for each in shown} == {"w", "y"}
